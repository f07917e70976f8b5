//! The keys in Redis. None holds a credential.

use crate::config::RedisConfig;
use crate::oci::RepositoryName;
use crate::util::Fingerprint;

/// Makes keys that begin with the operator's prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: Vec<u8>,
}

impl Keys {
    pub(super) fn new(settings: &RedisConfig) -> Self {
        Self {
            prefix: settings.prefix.as_bytes().to_vec(),
        }
    }

    /// A sorted set: the repositories that hold a digest, by when that was last seen.
    pub(super) fn holders(&self, digest: &[u8; 32]) -> Vec<u8> {
        self.key(b'l', &[digest])
    }

    /// Exists while no HEAD brings a layer back into a repository.
    pub(super) fn deletion(&self, digest: &[u8; 32], repository: &RepositoryName) -> Vec<u8> {
        self.key(b'd', &[digest, repository.as_str().as_bytes()])
    }

    /// A sorted set: the repositories that a login used, by when that was last seen.
    pub(super) fn uses(&self, login: &Fingerprint) -> Vec<u8> {
        self.key(b'u', &[login.bytes()])
    }

    /// Exists if a login pushed a short time ago.
    pub(super) fn pushed(&self, login: &Fingerprint) -> Vec<u8> {
        self.key(b'w', &[login.bytes()])
    }

    /// A hash: the uploads of a layer that are in flight.
    pub(super) fn flights(&self, digest: &[u8; 32]) -> Vec<u8> {
        self.key(b'f', &[digest])
    }

    fn key(&self, kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        [&*self.prefix, &[kind], &parts.concat()].concat()
    }
}
