//! A client that waits while the registry is asked on its behalf.

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

/// Waits until the client closes its connection, or sends what nobody asked for; then its request
/// is over, as for one that passes through. For requests without a body.
pub(crate) async fn client_disconnected(session: &mut Session) -> Box<Error> {
    loop {
        if let Err(error) = session.as_downstream_mut().read_body_or_idle(true).await {
            return error.into_down();
        }
    }
}

/// What `ask` gives, unless the client leaves before; how long that took is noted.
pub(crate) fn while_client_waits<T>(
    session: &mut Session,
    context: &mut RequestContext,
    ask: impl Future<Output = Result<T>>,
) -> impl Future<Output = Result<T>> {
    // Boxed, because most requests need no room for a connection of their own.
    let ask = Box::pin(ask);
    async move {
        let begun = Instant::now();
        context.asked = Some(begun);
        let given = tokio::select! {
            given = ask => given?,
            gone = client_disconnected(session) => return Err(gone),
        };
        context.answered_after = Some(begun.elapsed());
        Ok(given)
    }
}

/// The registry's answer to a HEAD that two readers take alike, before the client gets it.
pub(crate) async fn head_response(
    session: &mut Session,
    context: &mut RequestContext,
    exchange: &SubrequestClient,
) -> Result<Option<(RequestHeader, PendingResponse)>> {
    let head = session.req_header().clone();
    if head.method != Method::HEAD || !is_plain(&head) {
        return Ok(None);
    }
    context.shown = Credentials::from_single_header(&head.headers);
    let answer = while_client_waits(session, context, exchange.send(head.clone())).await?;
    Ok(Some((head, answer)))
}
