//! An answer that the registry could not give: 502, 503 or 504, and nothing else.

use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType};

/// The status for an error; `None` where there is nobody left to tell.
pub(crate) fn status(error: &Error) -> Option<StatusCode> {
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

/// Whether no connection to the registry came about.
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

/// Whether the registry may be another one when it answers again: its connection was
/// refused, or broke. A slow registry is the same one.
pub(crate) fn is_connection_lost(error: &Error) -> bool {
    let is_broken = matches!(
        error.etype(),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
    );
    *error.esource() == ErrorSource::Upstream && (is_broken || is_unconnected(error.etype()))
}

/// What the log says of an error.
pub(crate) fn description(error: &Error) -> String {
    // Pingora's own words quote a whole head there, which may hold an upload's state.
    if *error.root_etype() != ErrorType::InvalidHTTPHeader {
        return error.to_string();
    }
    let whose = match error.esource() {
        ErrorSource::Downstream => "request",
        _ => "registry's answer",
    };
    format!("the {whose} cannot be understood")
}

/// What a person reads in the body.
pub(crate) fn message(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => "the registry behind cannot be reached",
        StatusCode::GATEWAY_TIMEOUT => "the registry behind did not answer in time",
        StatusCode::BAD_GATEWAY => "the registry behind broke its answer off",
        _ => "the request cannot be understood",
    }
}
