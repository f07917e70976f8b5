//! Where else a layer may be: suggestions, for clients that do not know it.
//!
//! `index` remembers which repositories hold a digest, `candidates` picks those that a caller may
//! use and the operator allows, `bars` remembers what was deleted on purpose, and `survey` walks
//! through the store. Nothing here is a proof of anything: rights are proved by
//! [`crate::access`], and the disk, or the registry, is asked again before a suggestion is used.

mod bars;
mod candidates;
mod index;
mod survey;

use crate::access::Pullable;
use crate::config;
use crate::oci::{Digest, RepositoryName};

pub use index::Index;
pub use survey::{Survey, survey};

use bars::Bars;

/// Suggests repositories.
#[derive(Debug)]
pub struct Discovery {
    settings: config::Discovery,
    index: Index,
    bars: Bars,
}

impl Discovery {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: config::Discovery) -> Self {
        Self {
            settings,
            index: Index::new(index::MOST_LINKS),
            bars: Bars::default(),
        }
    }

    /// What the operator allows.
    #[must_use]
    pub fn settings(&self) -> &config::Discovery {
        &self.settings
    }

    /// A repository was seen to hold a layer.
    pub fn learn(&self, repository: &RepositoryName, digest: &Digest) {
        self.index.learn(repository, digest);
    }

    /// A repository does not hold a layer after all.
    pub fn forget(&self, repository: &RepositoryName, digest: &Digest) {
        self.index.forget(repository, digest);
    }

    /// Somebody deleted a layer from a repository: no HEAD shall bring it back for a while.
    pub fn bar(&self, repository: &RepositoryName, digest: &Digest) {
        self.index.forget(repository, digest);
        self.bars.set(repository, digest);
    }

    /// Whether a layer was deleted from a repository lately.
    #[must_use]
    pub fn is_barred(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        self.bars.is_set(repository, digest)
    }

    /// How many links are remembered.
    #[must_use]
    pub fn links(&self) -> u64 {
        self.index.links()
    }

    /// Repositories that may hold the layer, and that this caller may try for this target.
    #[must_use]
    pub fn candidates(
        &self,
        target: &RepositoryName,
        digest: &Digest,
        pullable: &Pullable,
    ) -> Vec<RepositoryName> {
        candidates::pick(
            &self.settings,
            target,
            &self.index.holders(digest),
            pullable,
        )
    }
}
