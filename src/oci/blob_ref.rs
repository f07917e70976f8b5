//! A blob of a repository.

use std::fmt;

use crate::oci::{Digest, RepositoryName};

/// A blob in one repository, which links it or is to link it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobRef {
    /// The repository.
    pub repository: RepositoryName,
    /// The blob's digest.
    pub digest: Digest,
}

impl BlobRef {
    /// The same blob in another repository.
    #[must_use]
    pub fn in_repository(&self, repository: &RepositoryName) -> Self {
        Self {
            repository: repository.clone(),
            digest: self.digest.clone(),
        }
    }
}

/// In the form of a reference, such as `library/nginx@sha256:…`.
impl fmt::Display for BlobRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.repository, self.digest)
    }
}
