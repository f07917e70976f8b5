//! The right to write one kind of link.

use crate::oci::RepositoryName;

/// Says that this very request's caller may pull and push `target` and pull `source`.
///
/// Only the access part can make one, and no link is written without one.
#[derive(Debug)]
pub struct Grant {
    target: RepositoryName,
    source: RepositoryName,
    proof: Proof,
}

/// What a grant rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The registry allowed exactly these rights to the caller's own credentials.
    UpstreamProbe,
    /// The registry has no access control: it allowed them to a request without credentials.
    NoAccessControl,
}

impl Grant {
    pub(super) fn new(target: &RepositoryName, source: &RepositoryName, proof: Proof) -> Self {
        Self {
            target: target.clone(),
            source: source.clone(),
            proof,
        }
    }

    /// The repository that may be linked into.
    #[must_use]
    pub fn target(&self) -> &RepositoryName {
        &self.target
    }

    /// The repository that may be linked from.
    #[must_use]
    pub fn source(&self) -> &RepositoryName {
        &self.source
    }

    /// What the grant rests on.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof
    }

    #[cfg(test)]
    pub(crate) fn for_test(target: &RepositoryName, source: &RepositoryName) -> Self {
        Self::new(target, source, Proof::NoAccessControl)
    }
}
