//! The registry's object store, which crossmount lists and never writes.
//!
//! | file | what |
//! |---|---|
//! | `open` | makes a client of the configuration |
//! | `connector` | sends the calls, and keeps what a refusal said |
//! | `error` | why a call failed |
//! | `lookup` | whether a source's link and a blob's data exist |
//! | `listing` | all links, and all blobs, page by page |
//!
//! A listing is the only call, so that the permission to list is the only one that crossmount
//! needs. [`Bucket`] holds its client behind [`PaginatedListStore`], which has no other call.

mod connector;
mod error;
mod listing;
mod lookup;
mod open;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectMeta;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use tokio::time::Instant;

pub use error::BucketError;
pub(crate) use listing::{Listing, blob_of_key, link_of_key};
pub(crate) use lookup::BucketLookup;
pub use open::BucketOpenError;

use crate::store::layout::VERSION_DIRECTORY;
use crate::telemetry::labels::BucketResult;
use crate::telemetry::metrics::Metrics;

/// The registry's bucket or container.
pub(crate) struct Bucket {
    client: Arc<dyn PaginatedListStore>,
    /// The beginning of the registry's keys, `ROOT/docker/registry/v2/`.
    base: String,
    metrics: Arc<Metrics>,
}

/// An object, by its key below the registry's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Such as `blobs/sha256/ab/ab…/data`.
    pub key: String,
    /// In bytes.
    pub size: u64,
}

/// One page of a listing.
#[derive(Debug)]
struct Page {
    entries: Vec<Entry>,
    /// Where the next page begins, if there is one.
    next: Option<String>,
}

/// What a page is to hold.
struct Wanted<'a> {
    /// The beginning of its keys, below the registry's directory.
    prefix: &'a str,
    most: usize,
    page: Option<String>,
    /// The key after which it begins, if no page is named.
    after: Option<String>,
}

impl Bucket {
    fn new(client: Arc<dyn PaginatedListStore>, root: &str, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            base: format!("{root}{VERSION_DIRECTORY}/"),
            metrics,
        }
    }

    /// Where the registry's keys begin, such as `ROOT/docker/registry/v2/`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Whether there is any object of a registry.
    pub(crate) async fn has_registry(&self, deadline: Instant) -> Result<bool, BucketError> {
        let page = self.page("", 1, deadline).await?;
        Ok(!page.entries.is_empty())
    }

    /// The first page of the keys with this prefix.
    async fn page(
        &self,
        prefix: &str,
        most: usize,
        deadline: Instant,
    ) -> Result<Page, BucketError> {
        let wanted = Wanted {
            prefix,
            most,
            page: None,
            after: None,
        };
        self.list(wanted, deadline).await
    }

    /// One call, which is counted. It fails at the deadline.
    async fn list(&self, wanted: Wanted<'_>, deadline: Instant) -> Result<Page, BucketError> {
        let began = Instant::now();
        let prefix = format!("{}{}", self.base, wanted.prefix);
        let options = PaginatedListOptions {
            offset: wanted.after.map(|key| format!("{}{key}", self.base)),
            max_keys: Some(wanted.most),
            page_token: wanted.page,
            ..PaginatedListOptions::default()
        };
        let call = self.client.list_paginated(Some(&prefix), options);
        let listed = match tokio::time::timeout_at(deadline, call).await {
            Ok(Ok(listed)) => Ok(listed),
            Ok(Err(error)) => Err(BucketError::of(&error, self.base.len())),
            Err(_) => Err(BucketError::Timeout),
        };
        let result = listed
            .as_ref()
            .map_or_else(BucketError::result, |_| BucketResult::Ok);
        self.metrics.bucket_request(result, began.elapsed());
        let listed = listed?;
        Ok(Page {
            entries: listed
                .result
                .objects
                .iter()
                .filter_map(|it| self.entry(it))
                .collect(),
            next: listed.page_token,
        })
    }

    /// The library cuts a slash off the beginning of a key.
    fn entry(&self, object: &ObjectMeta) -> Option<Entry> {
        let key = object.location.as_ref();
        let key = key.strip_prefix(self.base.trim_start_matches('/'))?;
        Some(Entry {
            key: key.to_owned(),
            size: object.size,
        })
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// How long one page of a scan may take.
pub(crate) const PAGE_LIMIT: Duration = Duration::from_secs(30);
