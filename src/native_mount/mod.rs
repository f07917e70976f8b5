//! The registry's own mount: which of its responses become a plain upload.
//!
//! Pulp responds 404 to a miss, while the specification wants the 202 of an upload. `generic` has the
//! configured rules for any other registry.
//! Nothing is sent from here: requests go through [`crate::upstream::SubrequestClient`], and only
//! the response comes in.

mod generic;

use http::{HeaderMap, StatusCode};

pub(crate) use generic::GenericRules;

use crate::auth::Credentials;
use crate::mount::MountRequest;
use crate::oci::has_error_code;
use crate::telemetry::outcome::{Outcome, Reason};

/// The rules by which responses are judged.
#[derive(Debug)]
pub(crate) enum NativeMountRules {
    /// Those of Pulp.
    Pulp,
    /// Those of the configuration.
    Generic(Box<GenericRules>),
}

/// The registry's response to a mount, and the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountResponse<'a> {
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
pub(crate) enum Action {
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
    pub(crate) fn needs_bare_query(&self) -> bool {
        matches!(self, Self::Pulp)
    }

    /// Whether another source is tried if the registry opens an upload in place of a mount.
    pub(crate) fn suggests_after_upload(&self) -> bool {
        matches!(self, Self::Generic(rules) if rules.suggests_after_upload)
    }

    /// Whether the body of a response with this status decides.
    pub(crate) fn reads_errors(&self, status: StatusCode) -> bool {
        matches!(self, Self::Pulp) && status == StatusCode::NOT_FOUND
    }

    /// The action on a response.
    pub(crate) fn action(&self, response: &MountResponse<'_>) -> Action {
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
pub(crate) fn outcome_of(status: StatusCode) -> (Outcome, Reason) {
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

/// What Pulp does not have (`pulp_container/app/exceptions.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PulpMiss {
    /// `BLOB_UNKNOWN`: the repository exists, and does not hold the blob, or not yet.
    Blob,
    /// `NAME_UNKNOWN`: there is no such repository.
    Repository,
}

/// What a response says that Pulp does not have; `None` for the 404 of another server.
pub(crate) fn read_miss(status: StatusCode, body: Option<&[u8]>) -> Option<PulpMiss> {
    let body = body.filter(|_| status == StatusCode::NOT_FOUND)?;
    if has_error_code(body, "BLOB_UNKNOWN") {
        Some(PulpMiss::Blob)
    } else if has_error_code(body, "NAME_UNKNOWN") {
        Some(PulpMiss::Repository)
    } else {
        None
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

    #[test]
    fn only_a_404_with_one_of_two_codes_is_a_miss() {
        let body = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"m"}}]}}"#);
        for (status, body, expected) in [
            (404, Some(body("BLOB_UNKNOWN")), Some(PulpMiss::Blob)),
            (404, Some(body("NAME_UNKNOWN")), Some(PulpMiss::Repository)),
            (404, Some(body("MANIFEST_UNKNOWN")), None),
            (404, Some("404 page not found".to_owned()), None),
            (404, None, None),
            (400, Some(body("BLOB_UNKNOWN")), None),
            (401, Some(body("NAME_UNKNOWN")), None),
            (503, Some(body("BLOB_UNKNOWN")), None),
        ] {
            let code = StatusCode::from_u16(status).unwrap();
            let found = read_miss(code, body.as_deref().map(str::as_bytes));
            assert_eq!(found, expected, "{status} {body:?}");
        }
    }
}
