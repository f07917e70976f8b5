//! What becomes of a wish.

use super::{Grant, Refusal};

/// What is known about one caller's right to one mount.
#[derive(Debug)]
pub enum Verdict {
    /// The caller may.
    Granted(Grant),
    /// The caller showed no credentials.
    NoCredentials,
    /// The caller may not, as far as these credentials go.
    Refused(Refusal),
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
