//! Where else a layer may be: suggestions, for clients that do not know it.
//!
//! `index` remembers which repositories hold a digest, and `active` which were used lately;
//! `candidates` picks those that a caller may use and the operator allows. `deletions` knows what
//! was deleted on purpose, and `scanner` walks through the store. Nothing here is a proof of
//! anything: rights are proved by [`crate::auth`], and the disk, or the registry, is asked again
//! before a suggestion is used.

mod candidates;
mod index;
mod recent;
pub(crate) mod scanner;
mod tombstones;

use std::sync::Arc;

pub use candidates::SharedSources;
pub use index::Index;
pub use scanner::StoreScanner;
pub use tombstones::PendingDelete;

use crate::auth::PullScope;
use crate::config;
use crate::discovery::recent::RecentRepositories;
use crate::discovery::tombstones::Tombstones;
use crate::oci::{BlobRef, Digest, RepositoryName};

/// Suggests repositories.
#[derive(Debug)]
pub struct Discovery {
    settings: config::DiscoveryConfig,
    index: Index,
    deletions: Arc<Tombstones>,
    active: RecentRepositories,
}

impl Discovery {
    /// Knows nothing yet.
    pub fn new(settings: config::DiscoveryConfig) -> Self {
        Self {
            settings,
            index: Index::new(index::MOST_LINKS),
            deletions: Arc::default(),
            active: RecentRepositories::default(),
        }
    }

    /// What the operator allows.
    pub fn settings(&self) -> &config::DiscoveryConfig {
        &self.settings
    }

    /// A repository was seen to hold a layer.
    pub fn record_link(&self, repository: &RepositoryName, digest: &Digest) {
        if repository.is_mountable() {
            self.index.learn(repository, digest);
        }
    }

    /// Something was pushed to, or mounted from, a repository.
    pub fn record_use(&self, repository: &RepositoryName) {
        self.active.record_use(repository);
    }

    /// Repositories from which a push to `target` is likely to need layers, likeliest first: of
    /// those that are declared shared, or that the caller was seen to pull and the operator
    /// allows. Nobody hears the name of another.
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

    /// A repository does not hold a layer after all.
    pub fn forget_link(&self, repository: &RepositoryName, digest: &Digest) {
        self.index.forget(repository, digest);
    }

    /// Somebody is about to delete a layer from a repository, before the registry hears of it.
    ///
    /// From then on no HEAD brings the layer back, and for a while longer if it was deleted.
    #[must_use]
    pub fn begin_delete(&self, blob: &BlobRef) -> PendingDelete {
        self.deletions.begin(blob)
    }

    /// Whether a layer was deleted from a repository lately, or is being deleted.
    #[must_use]
    pub fn is_tombstoned(&self, blob: &BlobRef) -> bool {
        self.deletions.is_tombstoned(blob)
    }

    /// How many links are remembered.
    pub fn links(&self) -> u64 {
        self.index.links()
    }

    /// Repositories that may hold the layer, and that this caller may try for this target.
    pub fn find_candidates(
        &self,
        target: &BlobRef,
        rights: (&PullScope, SharedSources),
    ) -> Vec<RepositoryName> {
        let holders = self.index.holders(&target.digest);
        candidates::select_candidates(&self.settings, &target.repository, &holders, rights)
    }
}
