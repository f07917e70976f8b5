//! What is said of credentials here.

use std::time::Instant;

use crate::util::Fingerprint;
use crate::util::blocking_pool::JobError;

/// What credentials give, as far as can be told here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocalDecision {
    /// Everything that is wished for.
    Allowed(Allowed),
    /// Less than is wished for, though they are good.
    Insufficient,
    /// Nothing.
    Denied,
    /// Only the registry can tell.
    Unknown,
    /// It was not found out in time.
    Unfinished(JobError),
}

/// Who may, and what that rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub user: Option<String>,
    /// When the credentials end by themselves.
    pub until: Option<Instant>,
    /// By which the registry's own word for it is remembered.
    pub credential_key: Fingerprint,
}
