//! Responses to the client that do not stream through: crossmount's own, and those of the registry
//! that were examined first.
//!
//! crossmount's own are the 201 to a mount, as the registry writes it, and a cached response of the
//! token endpoint. If the registry sent no response, they are 400, 502, 503 or 504.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::config::{ResponseHeaders, Secret};
use crate::oci::{Digest, error_body};
use crate::upstream::PendingResponse;

/// A response that is ready for the client.
pub(crate) enum Response {
    /// crossmount's own: a head, and a body if it has one.
    Own(Box<ResponseHeader>, Option<Bytes>),
    /// The registry's, whose head was examined.
    Upstream(Box<PendingResponse>),
}

impl Response {
    /// Writes it to the client; fails if the client disconnects, or the registry's response breaks
    /// off.
    pub(crate) async fn write(self, session: &mut Session) -> Result<()> {
        let (head, body) = match self {
            Self::Own(head, body) => (head, body),
            Self::Upstream(response) => return response.pass_on(session).await,
        };
        let written = session.write_response_header(head, body.is_none()).await;
        written.map_err(Error::into_down)?;
        let Some(body) = body else {
            return Ok(());
        };
        let written = session.write_response_body(Some(body), true).await;
        written.map_err(Error::into_down)
    }
}

/// Writes the response to a request that failed, and ends the connection.
pub(crate) async fn respond_with_error(session: &mut Session, status: StatusCode) -> Result<()> {
    let body = error_body("UNAVAILABLE", message(status));
    session.set_keepalive(None);
    let head = Box::new(unavailable(status, body.len())?);
    Response::Own(head, Some(body.into())).write(session).await
}

/// The head of a 201 (`registry/handlers/blobupload.go`, `writeBlobCreatedHeaders`), with the
/// configured headers among the registry's own, in the order in which Go writes them.
pub(crate) fn created(
    digest: &Digest,
    location: &str,
    response_headers: &ResponseHeaders,
) -> Result<ResponseHeader> {
    let mut headers: Vec<(String, String)> = vec![
        ("Content-Length".to_owned(), "0".to_owned()),
        ("Docker-Content-Digest".to_owned(), digest.to_string()),
        (
            "Docker-Distribution-Api-Version".to_owned(),
            "registry/2.0".to_owned(),
        ),
        ("Location".to_owned(), location.to_owned()),
    ];
    for (name, values) in response_headers {
        let values = values.iter().map(Secret::expose);
        headers.extend(values.map(|value| (canonical(name), value.clone())));
    }
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    let mut head = ResponseHeader::build(StatusCode::CREATED, Some(headers.len() + 2))?;
    for (name, value) in headers {
        head.append_header(name, value)?;
    }
    Ok(head)
}

/// The head of an OCI error that crossmount sends if the registry sent no response.
fn unavailable(status: StatusCode, length: usize) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(4))?;
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    head.insert_header(header::CONTENT_TYPE, kind)?;
    head.insert_header(header::CONTENT_LENGTH, length)?;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        head.insert_header(header::RETRY_AFTER, "1")?;
    }
    Ok(head)
}

/// A header's name as Go spells it: each part begins with a capital letter.
fn canonical(name: &str) -> String {
    name.split('-')
        .map(|part| {
            let (first, rest) = part.split_at(part.len().min(1));
            first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
        })
        .collect::<Vec<_>>()
        .join("-")
}

/// The status for an error; `None` if the client is gone.
pub(crate) fn status_for(error: &Error) -> Option<StatusCode> {
    match error.etype() {
        ErrorType::HTTPStatus(code) => StatusCode::from_u16(*code).ok(),
        ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed
            if *error.esource() == ErrorSource::Downstream =>
        {
            None
        }
        _ if *error.esource() == ErrorSource::Downstream => Some(StatusCode::BAD_REQUEST),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Some(StatusCode::GATEWAY_TIMEOUT),
        kind if is_unconnected(kind) => Some(StatusCode::SERVICE_UNAVAILABLE),
        _ => Some(StatusCode::BAD_GATEWAY),
    }
}

/// Whether no connection to the registry was made.
pub(crate) fn is_unconnected(kind: &ErrorType) -> bool {
    matches!(
        kind,
        ErrorType::ConnectTimedout
            | ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::SocketError
            | ErrorType::TLSHandshakeFailure
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::InvalidCert
    )
}

/// Whether the registry may be another one when it responds again: its connection was refused, or
/// broke. A slow registry is the same one.
pub(crate) fn is_connection_lost(error: &Error) -> bool {
    let is_broken = matches!(
        error.etype(),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
    );
    *error.esource() == ErrorSource::Upstream && (is_broken || is_unconnected(error.etype()))
}

/// How the log describes an error.
pub(crate) fn description(error: &Error) -> String {
    // Pingora's description of this error quotes a whole head, which may hold an upload's state.
    if *error.root_etype() != ErrorType::InvalidHTTPHeader {
        return error.to_string();
    }
    let whose = match error.esource() {
        ErrorSource::Downstream => "request",
        _ => "registry's response",
    };
    format!("the {whose} is malformed")
}

/// The error's text in the body.
fn message(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => "crossmount cannot reach the registry",
        StatusCode::GATEWAY_TIMEOUT => "the registry did not answer in time",
        StatusCode::BAD_GATEWAY => "the registry ended its response early",
        _ => "the request is malformed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_go_does() {
        assert_eq!(
            canonical("x-content-TYPE-options"),
            "X-Content-Type-Options"
        );
        assert_eq!(
            canonical("Access-Control-Allow-Origin"),
            "Access-Control-Allow-Origin"
        );
    }
}
