//! How a mount is counted that the registry has answered.

use http::StatusCode;

use crate::telemetry::outcome::{Outcome, Reason};

/// What an answer says that the client gets, by its status.
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
