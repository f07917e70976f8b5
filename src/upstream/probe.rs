//! The probe for a mount's permissions, which leaves no trace in the registry.
//!
//! `PATCH …/blobs/uploads/?from=<source>` without an upload's identifier makes `registry/handlers`
//! check push and pull on the target and pull on the source. Then it finds that there is no such
//! upload: no file is touched and no repository created.

use http::{HeaderValue, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use crate::oci::{RepositoryName, has_error_code};
use crate::telemetry::trace::Trace;
use crate::upstream::client::{UpstreamClient, UpstreamError, UpstreamResponse};

/// Whether the registry lets a caller push to and pull from `target`, and pull from `source`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountProbe<'a> {
    pub target: &'a RepositoryName,
    pub source: &'a RepositoryName,
    /// The caller's own credentials.
    pub authorization: Option<&'a HeaderValue>,
    pub deadline: Instant,
}

impl MountProbe<'_> {
    /// The same, asked as an anonymous caller.
    pub(crate) fn without_credentials(self) -> Self {
        Self {
            authorization: None,
            ..self
        }
    }
}

/// The registry's response to the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    /// Permitted, and the registry accepts writes.
    Writable,
    /// Not permitted to these credentials.
    Refused,
    /// Not permitted to this token, which the registry has verified.
    Insufficient,
    /// The registry accepts no writes.
    ReadOnly,
    /// No connection was made.
    Unreachable,
    /// The connection broke.
    Broken,
    /// No response in time.
    TimedOut,
    /// A response that shows nothing about permissions, such as a missed route or a 5xx.
    Strange,
}

impl UpstreamClient {
    /// Asks the registry, and records what the response shows about its state.
    pub(crate) async fn probe_mount(&self, probe: &MountProbe<'_>) -> ProbeResult {
        let source = utf8_percent_encode(probe.source.as_str(), NON_ALPHANUMERIC);
        let path = format!("v2/{}/blobs/uploads/?from={source}", probe.target);
        let observation = self.registry_state.observe();
        let timer = self.metrics.upstream_timer();
        let response = self
            .send(Method::PATCH, &path, probe.authorization, probe.deadline)
            .await;
        drop(timer);
        let result = match response {
            Ok(answer) => read(&answer),
            Err(UpstreamError::TimedOut) => ProbeResult::TimedOut,
            Err(UpstreamError::Unconnected(error)) => {
                let trace = Trace::current();
                let trace_id = trace.as_ref().map(Trace::id);
                tracing::warn!(trace_id, error, "upstream probe failed: no connection");
                ProbeResult::Unreachable
            }
            Err(UpstreamError::Broken(error)) => {
                let trace = Trace::current();
                let trace_id = trace.as_ref().map(Trace::id);
                tracing::warn!(trace_id, error, "upstream probe failed: connection closed");
                ProbeResult::Broken
            }
        };
        match result {
            ProbeResult::Writable => self.registry_state.record_writable(&observation),
            ProbeResult::ReadOnly => self.registry_state.record_write_refused(),
            ProbeResult::Unreachable => self.reachability.record_unreachable(),
            ProbeResult::Broken => self.reachability.check_after_failure(),
            ProbeResult::Refused
            | ProbeResult::Insufficient
            | ProbeResult::TimedOut
            | ProbeResult::Strange => {}
        }
        result
    }
}

/// Reads the error code: a missed route is a 404 too, but with a text.
fn read(answer: &UpstreamResponse) -> ProbeResult {
    match answer.status {
        StatusCode::NOT_FOUND if has_error_code(&answer.body, "BLOB_UPLOAD_UNKNOWN") => {
            ProbeResult::Writable
        }
        StatusCode::UNAUTHORIZED if answer.is_scope_insufficient => ProbeResult::Insufficient,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ProbeResult::Refused,
        StatusCode::METHOD_NOT_ALLOWED => ProbeResult::ReadOnly,
        status => {
            tracing::debug!(status = status.as_u16(), "upstream probe inconclusive");
            ProbeResult::Strange
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_error_code_of_an_unknown_upload_allows() {
        let unknown = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"m"}]}"#;
        let invalid = r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID","message":"m"}]}"#;
        for (status, body, expected) in [
            (404, unknown, ProbeResult::Writable),
            (404, invalid, ProbeResult::Strange),
            (404, "404 page not found", ProbeResult::Strange),
            (200, unknown, ProbeResult::Strange),
            (202, "", ProbeResult::Strange),
            (401, "", ProbeResult::Refused),
            (403, "", ProbeResult::Refused),
            (405, "", ProbeResult::ReadOnly),
            (429, "", ProbeResult::Strange),
            (503, unknown, ProbeResult::Strange),
        ] {
            let answer = UpstreamResponse {
                status: StatusCode::from_u16(status).unwrap(),
                is_scope_insufficient: false,
                version: None,
                body: body.as_bytes().to_vec(),
            };
            assert_eq!(read(&answer), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_token_that_is_too_narrow_was_verified() {
        let answer = |status| UpstreamResponse {
            status,
            is_scope_insufficient: true,
            version: None,
            body: Vec::new(),
        };
        let narrow = answer(StatusCode::UNAUTHORIZED);
        assert_eq!(read(&narrow), ProbeResult::Insufficient);
        assert_eq!(read(&answer(StatusCode::OK)), ProbeResult::Strange);
    }
}
