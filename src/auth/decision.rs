//! The decision about a caller's permission to mount, and what crossmount's own check of credentials
//! contributes to it.

use std::time::Instant;

use crate::auth::denial::Denial;
use crate::auth::grant::Grant;
use crate::telemetry::outcome::Reason;
use crate::util::Fingerprint;
use crate::util::blocking_pool::JobError;

/// Whether one caller may do one mount.
#[derive(Debug)]
pub(crate) enum AuthDecision {
    /// The caller has all permissions.
    Granted(Grant),
    /// The request has no credentials.
    NoCredentials,
    /// The credentials lack a permission.
    Refused(Denial),
    /// The registry accepts no writes.
    ReadOnly,
    /// The registry refused what crossmount's own check allows.
    Mismatch,
    /// The registry sent no response, or none that shows anything about permissions.
    Unavailable,
    /// The registry did not respond in time.
    TimedOut,
    /// Too many password checks are queued.
    Overloaded,
}

impl AuthDecision {
    /// The reason that is counted if the mount is forwarded.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Granted(_) => Reason::None,
            Self::NoCredentials => Reason::NoCredentials,
            Self::Refused(_) => Reason::Denied,
            Self::ReadOnly => Reason::ReadOnly,
            Self::Mismatch => Reason::AccessMismatch,
            Self::Unavailable => Reason::UpstreamUnavailable,
            Self::TimedOut => Reason::Timeout,
            Self::Overloaded => Reason::Overload,
        }
    }
}

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
