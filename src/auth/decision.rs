//! The decision about a caller's permission to mount.

use crate::auth::denial::Denial;
use crate::auth::grant::Grant;
use crate::telemetry::outcome::Reason;

/// Whether one caller may do one mount.
#[derive(Debug)]
pub enum AuthDecision {
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
    pub fn reason(&self) -> Reason {
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
