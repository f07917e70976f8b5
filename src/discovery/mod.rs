//! Suggests sources of layers, for clients that do not know one.
//!
//! | file | what |
//! |---|---|
//! | `index` | which repositories hold a digest |
//! | `recent` | which repositories were used last |
//! | `store_search` | looks in the store itself |
//! | `directories` | the directories of repositories, as they were last listed |
//! | `candidates` | picks holders that the caller may use and the operator allows |
//! | `tombstones` | which layers were deleted on purpose |
//! | `scanner`, `bucket_scanner` | scan the store, or list the bucket, for links |
//! | `scan_progress` | shows what a scan has met |
//!
//! A suggestion proves nothing. Before it is used, [`crate::auth`] decides about permissions, and
//! the store or the registry is checked again.

pub(crate) mod bucket_scanner;
mod candidates;
mod directories;
mod index;
mod recent;
mod scan_progress;
pub(crate) mod scanner;
mod store_search;
mod tombstones;

use std::sync::Arc;

pub(crate) use bucket_scanner::BucketScanner;
pub use candidates::{CallerRights, SharedSources};
pub(crate) use index::Index;
pub(crate) use scanner::StoreScanner;
pub(crate) use store_search::StoreSearch;
pub(crate) use tombstones::PendingDelete;

use crate::auth::PullScope;
use crate::config;
use crate::discovery::directories::RepositoryDirectories;
use crate::discovery::recent::RecentRepositories;
use crate::discovery::tombstones::Tombstones;
use crate::oci::{BlobRef, Digest, RepositoryName};
use crate::store::DirectoryListing;

/// Suggests sources.
#[derive(Debug)]
pub struct Discovery {
    settings: config::DiscoveryConfig,
    index: Index,
    deletions: Arc<Tombstones>,
    active: RecentRepositories,
    directories: RepositoryDirectories,
}

impl Discovery {
    /// Knows no link yet.
    pub fn new(settings: config::DiscoveryConfig) -> Self {
        Self {
            index: Index::new(index::MOST_LINKS),
            deletions: Arc::new(Tombstones::new(settings.deleted_for)),
            settings,
            active: RecentRepositories::default(),
            directories: RepositoryDirectories::default(),
        }
    }

    /// The operator's settings.
    pub fn settings(&self) -> &config::DiscoveryConfig {
        &self.settings
    }

    /// Records that a repository holds a layer.
    pub fn record_link(&self, repository: &RepositoryName, digest: &Digest) {
        if repository.is_mountable() {
            self.index.learn(repository, digest);
        }
    }

    /// Records a push to or a mount from a repository.
    pub fn record_use(&self, repository: &RepositoryName) {
        self.active.record_use(repository);
    }

    /// Repositories from which a push to `target` will likely need layers, likeliest first.
    ///
    /// Only shared ones, and ones that the caller has pulled from and the operator allows: no
    /// caller learns the name of another repository.
    pub fn likely_sources(
        &self,
        target: &RepositoryName,
        pullable: &PullScope,
    ) -> Vec<RepositoryName> {
        let is_allowed = |name: &RepositoryName| {
            let is_shared = self.settings.shared.matches(name);
            let is_known = pullable.includes(name) && self.settings.allows(target, name);
            name != target && (is_shared || is_known)
        };
        self.active.latest(candidates::MOST, is_allowed)
    }

    /// Records how a scan listed the directory of the repositories whose names begin with `name`.
    pub(crate) fn record_listing(&self, name: &str, listing: &DirectoryListing) {
        self.directories.record(name, Arc::new(listing.clone()));
    }

    /// Forgets that a repository holds a layer.
    pub fn forget_link(&self, repository: &RepositoryName, digest: &Digest) {
        self.index.forget(repository, digest);
    }

    /// Records that a client is about to delete a layer, before the registry gets the request.
    ///
    /// From then on no HEAD brings the layer back; if it was deleted, for a while longer.
    pub fn begin_delete(&self, blob: &BlobRef) -> PendingDelete {
        self.deletions.begin(blob)
    }

    /// Whether a layer was recently deleted from a repository, or is being deleted.
    pub fn is_tombstoned(&self, blob: &BlobRef) -> bool {
        self.deletions.is_tombstoned(blob)
    }

    /// The number of links in the index.
    pub fn links(&self) -> u64 {
        self.index.links()
    }

    /// Repositories that may hold the layer, and that may be tried for this caller and target.
    pub fn find_candidates(
        &self,
        target: &BlobRef,
        rights: CallerRights<'_>,
    ) -> Vec<RepositoryName> {
        let holders = self.index.holders(&target.digest);
        candidates::select_candidates(&self.settings, &target.repository, &holders, rights)
    }
}
