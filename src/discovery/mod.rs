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
//! | `redis` | what replicas share, if the operator configured Redis or Valkey |
//!
//! A suggestion proves nothing. Before it is used, [`crate::auth`] decides about permissions, and
//! the store or the registry is checked again.

pub(crate) mod bucket_scanner;
mod candidates;
mod directories;
mod index;
mod recent;
pub(crate) mod redis;
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

use crate::auth::{Credentials, PullScope, Use};
use crate::config;
use crate::discovery::directories::RepositoryDirectories;
use crate::discovery::recent::RecentRepositories;
use crate::discovery::redis::{SharedIndex, SharedKnowledge};
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
    shared: Option<Arc<SharedIndex>>,
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
            shared: None,
        }
    }

    /// Uses and adds to what replicas share.
    #[must_use]
    pub(crate) fn with_shared(self, shared: Option<Arc<SharedIndex>>) -> Self {
        Self { shared, ..self }
    }

    /// The operator's settings.
    pub fn settings(&self) -> &config::DiscoveryConfig {
        &self.settings
    }

    /// Records that a repository holds a layer, as a request showed.
    pub fn record_link(&self, repository: &RepositoryName, digest: &Digest) {
        self.record_scanned_link(repository, digest);
        if let Some(shared) = self.shared.as_ref().filter(|_| repository.is_mountable()) {
            shared.record_link(repository, digest);
        }
    }

    /// Records that a repository holds a layer, as a scan showed. Every replica scans.
    pub(crate) fn record_scanned_link(&self, repository: &RepositoryName, digest: &Digest) {
        if repository.is_mountable() {
            self.index.learn(repository, digest);
        }
    }

    /// Records for all replicas that the registry let these credentials use a repository.
    pub(crate) fn share_use(&self, login: &Credentials, repository: &RepositoryName, what: Use) {
        if let Some(shared) = &self.shared {
            shared.record_use(login, repository, what);
        }
    }

    /// Forgets for all replicas that these credentials used a repository.
    pub(crate) fn unshare_use(&self, login: &Credentials, repository: &RepositoryName) {
        if let Some(shared) = &self.shared {
            shared.forget_use(login, repository);
        }
    }

    /// Fetches what replicas share about a layer, and about a login if one is given. It is a
    /// suggestion, for this request alone.
    ///
    /// The access to the target must be decided before: the server sees for which layers this is
    /// called.
    pub(crate) async fn fetch_shared(
        &self,
        target: &BlobRef,
        login: Option<&Credentials>,
    ) -> SharedKnowledge {
        match &self.shared {
            Some(shared) => shared.fetch(target, login).await,
            None => SharedKnowledge::default(),
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
        if let Some(shared) = &self.shared {
            shared.forget_link(repository, digest);
        }
    }

    /// Records that a client is about to delete a layer, before the registry gets the request.
    ///
    /// From then on no HEAD brings the layer back; if it was deleted, for a while longer. With
    /// Redis, this holds for all replicas.
    pub async fn begin_delete(&self, blob: &BlobRef) -> PendingDelete {
        let pending = self.deletions.begin(blob);
        match &self.shared {
            Some(shared) => {
                let deletion = shared.begin_delete(blob, self.settings.deleted_for);
                pending.sharing(deletion.await)
            }
            None => pending,
        }
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
        self.find_shared_candidates(target, rights, &SharedKnowledge::default())
    }

    /// As [`Self::find_candidates`], with what replicas share.
    pub(crate) fn find_shared_candidates(
        &self,
        target: &BlobRef,
        rights: CallerRights<'_>,
        shared: &SharedKnowledge,
    ) -> Vec<RepositoryName> {
        let mut holders = self.index.holders(&target.digest);
        let others = shared.holders.iter().filter(|it| {
            let mut known = holders.iter();
            !known.any(|holder| **holder == **it)
        });
        let others: Vec<_> = others.cloned().map(Arc::new).collect();
        holders.extend(others);
        candidates::select_candidates(&self.settings, &target.repository, &holders, rights)
    }
}
