//! The registry's own mount: which of its responses become a plain upload.
//!
//! `pulp` reads a miss of Pulp's, and `generic` has the configured rules for any other registry.
//! Nothing is sent from here: requests go through [`crate::upstream::SubrequestClient`], and only
//! the response comes in.

mod generic;
mod pulp;

use http::{HeaderMap, StatusCode};

pub use generic::GenericRules;
pub use pulp::{PulpMiss, read_miss};

use crate::auth::Credentials;
use crate::mount::MountRequest;
use crate::telemetry::outcome::{Outcome, Reason};

/// The rules by which responses are judged.
#[derive(Debug)]
pub enum NativeMountRules {
    /// Those of Pulp.
    Pulp,
    /// Those of the configuration.
    Generic(Box<GenericRules>),
}

/// The registry's response to a mount, and the request.
#[derive(Debug, Clone, Copy)]
pub struct MountResponse<'a> {
    /// The mount, if its query is unambiguous.
    pub request: Option<&'a MountRequest>,
    /// The client's credentials.
    pub credentials: &'a Credentials,
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    /// The body, unless it is longer than an error's.
    pub body: Option<&'a [u8]>,
}

/// What follows the registry's response to a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The client gets the response.
    PassOn,
    /// A plain upload is started in place of the mount.
    Upload {
        reason: Reason,
        /// Whether the registry may hold the bytes, though it does not mount them.
        is_blob_missing: bool,
    },
}

impl NativeMountRules {
    /// Whether the registry mounts only if the query holds nothing but the mount
    /// (`pulp_container/app/registry_api.py`, `tries_to_mount_blob`).
    pub fn needs_bare_query(&self) -> bool {
        matches!(self, Self::Pulp)
    }

    /// Whether the body of a response with this status decides.
    pub fn reads_errors(&self, status: StatusCode) -> bool {
        matches!(self, Self::Pulp) && status == StatusCode::NOT_FOUND
    }

    /// The action on a response.
    pub fn action(&self, response: &MountResponse<'_>) -> Action {
        match self {
            Self::Pulp => match read_miss(response.status, response.body) {
                Some(miss) => Action::Upload {
                    reason: Reason::Mended,
                    is_blob_missing: miss == PulpMiss::Blob,
                },
                None => Action::PassOn,
            },
            Self::Generic(rules) => rules.action(response),
        }
    }
}

/// How a mount is counted, by the status that the client gets.
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
