//! What crossmount's own check of credentials decides.

use std::time::Instant;

use crate::util::Fingerprint;
use crate::util::blocking_pool::JobError;

/// The permissions of credentials, as far as crossmount can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocalDecision {
    /// All that the request needs.
    Allowed(Allowed),
    /// Fewer than the request needs, though the credentials are valid.
    Insufficient,
    /// None.
    Denied,
    /// Unknown: only the registry can decide.
    Unknown,
    /// The check did not end in time.
    Unfinished(JobError),
}

/// An allowed caller, and how long the credentials are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub user: Option<String>,
    /// When the credentials expire.
    pub until: Option<Instant>,
    /// The key under which the registry's confirmation of them is cached.
    pub credential_key: Fingerprint,
}
