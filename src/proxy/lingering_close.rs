//! Reads what a client still sends after its response.
//!
//! A registry may respond before the request's body has come: an expired token, a wrong password, a
//! body that is too large. The client may read the response only after it has sent everything. A
//! connection that is closed with its body unread is reset, and the reset can overtake the response
//! (RFC 9112, 9.6). So the rest of the body is read and discarded, up to limits.

use std::time::Duration;

use http::{Version, header};
use pingora::proxy::Session;
use tokio::time::{Instant, timeout_at};

/// How long a client may stay silent in a body that is discarded.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);
/// How long the rest of a body may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// How many bytes of a body are discarded. That is more than the socket buffers of client and
/// server hold: a client that reads while it sends has long seen its response.
const BYTES_LIMIT: usize = 64 * 1024 * 1024;

/// Keeps a connection open after an early response, if the rest of the body can be read.
///
/// A client that waits for `100 Continue` may or may not send its body after the response, so its
/// connection ends there (RFC 9110, 10.1.1).
pub(crate) fn prepare(session: &mut Session) {
    let head = session.req_header();
    let may_withhold = head.headers.contains_key(header::EXPECT);
    let is_kept = head.version == Version::HTTP_11 && !may_withhold;
    session.set_close_on_response_before_downstream_finish(!is_kept);
}

/// Limits the silence of a client in its body, once the response begins. Returns whether the
/// response came before the body's end.
pub(crate) fn limit_silence(session: &mut Session) -> bool {
    let is_early = !session.is_body_done();
    if is_early {
        session.set_read_timeout(Some(SILENCE_LIMIT));
    }
    is_early
}

/// Reads the rest of the body after the response, up to the limits.
pub(crate) async fn discard_body(session: &mut Session) {
    if session.is_body_done() || session.response_written().is_none() {
        return;
    }
    if session.get_keepalive().is_none() && session.as_http1().is_some() {
        // Ends the response now: the client need not wait for the end of its own body.
        session.as_downstream_mut().shutdown().await;
    }
    session.set_read_timeout(Some(SILENCE_LIMIT));
    let until = Instant::now() + TIME_LIMIT;
    let mut left = BYTES_LIMIT;
    while left > 0 {
        match timeout_at(until, session.read_request_body()).await {
            Ok(Ok(Some(piece))) => left = left.saturating_sub(piece.len()),
            Ok(Ok(None)) => return,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    session.set_keepalive(None);
}
