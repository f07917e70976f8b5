//! Waiting for the registry, as long as the client stays connected.

use std::future::Future;
use std::time::Instant;

use http::Method;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, Result};

use crate::auth::Credentials;
use crate::proxy::context::RequestContext;
use crate::proxy::route::is_plain;
use crate::upstream::{PendingResponse, SubrequestClient};

/// Waits until the client disconnects or sends what this request has no room for. Either ends the
/// request, as for a forwarded one. Only for requests without a body.
pub(crate) async fn client_disconnected(session: &mut Session) -> Box<Error> {
    loop {
        if let Err(error) = session.as_downstream_mut().read_body_or_idle(true).await {
            return error.into_down();
        }
    }
}

/// Awaits `exchange` unless the client disconnects first, and notes how long it took.
pub(crate) fn while_client_waits<T>(
    session: &mut Session,
    context: &mut RequestContext,
    exchange: impl Future<Output = Result<T>>,
) -> impl Future<Output = Result<T>> {
    // Boxed, because most requests need no room for a subrequest.
    let exchange = Box::pin(exchange);
    async move {
        let begun = Instant::now();
        context.sent_at = Some(begun);
        let response = tokio::select! {
            response = exchange => response?,
            gone = client_disconnected(session) => return Err(gone),
        };
        context.response_time = Some(begun.elapsed());
        Ok(response)
    }
}

/// The registry's response to a plain HEAD, before the client gets it.
pub(crate) async fn head_response(
    session: &mut Session,
    context: &mut RequestContext,
    subrequests: &SubrequestClient,
) -> Result<Option<(RequestHeader, PendingResponse)>> {
    let head = session.req_header().clone();
    if head.method != Method::HEAD || !is_plain(&head) {
        return Ok(None);
    }
    context.credentials = Credentials::from_single_header(&head.headers);
    let answer = while_client_waits(session, context, subrequests.send(head.clone())).await?;
    Ok(Some((head, answer)))
}
