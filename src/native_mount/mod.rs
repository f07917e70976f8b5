//! The registry's own mount, and which of its answers are replaced by a plain upload.
//!
//! Nothing is sent here: the client's request goes to the registry by
//! [`crate::upstream::SubrequestClient`], and its answer comes in. `pulp` knows how Pulp says that there
//! is nothing to mount, `generic` what any other registry may mean, and `counted` how an answer
//! that the client gets is counted.

mod generic;
mod pulp;

use http::{HeaderMap, StatusCode};

pub use generic::GenericRules;
pub use pulp::{PulpMiss, read_miss};

use crate::auth::Credentials;
use crate::mount::MountRequest;
use crate::telemetry::outcome::{Outcome, Reason};

/// By whose rules answers are judged.
#[derive(Debug)]
pub enum NativeMountRules {
    /// Pulp's.
    Pulp,
    /// Those of the configuration.
    Generic(Box<GenericRules>),
}

/// What is known of a mount that the registry has answered.
#[derive(Debug, Clone, Copy)]
pub struct MountResponse<'a> {
    /// What was asked for, where that has the plain form.
    pub request: Option<&'a MountRequest>,
    /// What the caller showed.
    pub credentials: &'a Credentials,
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's headers.
    pub headers: &'a HeaderMap,
    /// The answer's body, unless that is longer than an error's.
    pub body: Option<&'a [u8]>,
}

/// How a mount goes on that the registry has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The client gets the answer.
    PassOn,
    /// A plain upload is started in the mount's place.
    Upload {
        /// Why.
        reason: Reason,
        /// Whether the bytes may be there all the same, though the registry does not mount them.
        is_blob_missing: bool,
    },
}

impl NativeMountRules {
    /// Whether the registry mounts only where the query holds nothing but the mount
    /// (`pulp_container/app/registry_api.py`, `tries_to_mount_blob`).
    pub fn needs_bare_query(&self) -> bool {
        matches!(self, Self::Pulp)
    }

    /// Whether an answer with this status must be read to be judged.
    pub fn reads_errors(&self, status: StatusCode) -> bool {
        matches!(self, Self::Pulp) && status == StatusCode::NOT_FOUND
    }

    /// Judges an answer.
    pub fn action(&self, answered: &MountResponse<'_>) -> Action {
        match self {
            Self::Pulp => match read_miss(answered.status, answered.body) {
                Some(miss) => Action::Upload {
                    reason: Reason::Mended,
                    is_blob_missing: miss == PulpMiss::Blob,
                },
                None => Action::PassOn,
            },
            Self::Generic(rules) => rules.action(answered),
        }
    }
}

/// How a mount is counted, by the status that the client gets.
#[must_use]
pub fn outcome_of(status: StatusCode) -> (Outcome, Reason) {
    match status {
        StatusCode::CREATED => (Outcome::Native, Reason::None),
        status => (Outcome::Forwarded, reason_of(status)),
    }
}

fn reason_of(status: StatusCode) -> Reason {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Denied,
        StatusCode::NOT_FOUND => Reason::SourceMissing,
        StatusCode::METHOD_NOT_ALLOWED => Reason::ReadOnly,
        StatusCode::TOO_MANY_REQUESTS => Reason::UpstreamUnavailable,
        status if status.is_server_error() => Reason::UpstreamUnavailable,
        _ => Reason::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_of_the_registrys_own_is_native_and_everything_else_has_its_reason() {
        for (status, expected) in [
            (201, (Outcome::Native, Reason::None)),
            (202, (Outcome::Forwarded, Reason::None)),
            (401, (Outcome::Forwarded, Reason::Denied)),
            (404, (Outcome::Forwarded, Reason::SourceMissing)),
            (405, (Outcome::Forwarded, Reason::ReadOnly)),
            (429, (Outcome::Forwarded, Reason::UpstreamUnavailable)),
            (500, (Outcome::Forwarded, Reason::UpstreamUnavailable)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(outcome_of(status), expected, "{status}");
        }
    }
}
