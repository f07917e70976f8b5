//! What becomes of a wish.

use crate::auth::denial::Denial;
use crate::auth::grant::Grant;
use crate::telemetry::outcome::Reason;

/// What is known about one caller's right to one mount.
#[derive(Debug)]
pub enum AuthDecision {
    /// The caller may.
    Granted(Grant),
    /// The caller showed no credentials.
    NoCredentials,
    /// The caller may not, as far as these credentials go.
    Refused(Denial),
    /// The registry takes no writes.
    ReadOnly,
    /// The registry refused what is allowed here.
    Mismatch,
    /// The registry gave no answer, or none that says anything about rights.
    Unavailable,
    /// There was no answer in time.
    TimedOut,
    /// Too many passwords wait to be checked.
    Overloaded,
}

impl AuthDecision {
    /// Why nothing is mounted.
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
