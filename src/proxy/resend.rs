//! Whether a request that failed on its connection to the registry is sent again.
//!
//! A GET or HEAD may always be, a write only as `write_connections` in [`crate::upstream`] says.
//! Nothing is sent again once the client has a part of a response.

use pingora::Error;
use pingora::proxy::Session;

use crate::proxy::context::RequestContext;
use crate::proxy::response;
use crate::upstream::{SharedWrite, is_repeatable};

/// How often a request is sent again after reused connections that the registry had closed.
const RESENT_AT_MOST: usize = 2;

/// Decides it, and writes it into the error. `was_kept` says whether the connection had carried
/// another request.
pub(super) fn decide(
    session: &Session,
    error: &mut Error,
    context: &mut RequestContext,
    was_kept: bool,
) {
    let session = session.as_ref();
    let write = context.shared_write.as_ref();
    let is_unanswered = session.response_written().is_none();
    let never_arrived = is_unanswered && write.is_some_and(|it| it.never_arrived(error));
    let is_repeatable = is_repeatable(&session.req_header().method);
    let is_lost = was_kept && response::is_connection_lost(error);
    if let Some(write) = write.filter(|_| is_lost && !never_arrived) {
        write.record_failure();
    }
    let opens_session = write.is_some_and(SharedWrite::opens_session);
    let may_arrive_twice = is_lost && opens_session && is_unanswered;
    let may_resend = context.resent < RESENT_AT_MOST && !session.retry_buffer_truncated();
    if may_resend && (never_arrived || may_arrive_twice || is_repeatable) {
        context.resent += 1;
        context.body.begin_again();
        if never_arrived || may_arrive_twice {
            error.set_retry(true);
        } else {
            // Pingora knows whether the response had begun.
            error.retry.decide_reuse(was_kept);
        }
    } else {
        error.set_retry(false);
    }
}
