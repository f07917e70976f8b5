//! Requests to the registry's own token endpoint: answered from the token cache, or sent with more
//! scopes, if the operator enabled either.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{StatusCode, header};
use parking_lot::Mutex;
use pingora::ErrorType::ConnectionClosed;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, Result};

use crate::proxy::context::RequestContext;
use crate::proxy::handlers::client_wait::{client_disconnected, while_client_waits};
use crate::proxy::response::Response;
use crate::proxy::route::is_plain;
use crate::telemetry::labels::CacheResult;
use crate::telemetry::metrics::Metrics;
use crate::token_cache::{
    CachedToken, LONGEST, NotCached, ScopeExpansion, TokenCache, TokenRequest,
};
use crate::upstream::{PendingResponse, SubrequestClient};

/// How long a request waits for an equal one in flight before it is sent itself.
const FOLLOWS_FOR: Duration = Duration::from_secs(5);

/// Responds to token requests from the cache, or sends them with more scopes.
#[derive(Debug)]
pub(crate) struct TokenEndpointHandler {
    cache: Option<TokenCache>,
    scope_expansion: Option<ScopeExpansion>,
    subrequests: Arc<SubrequestClient>,
    metrics: Arc<Metrics>,
}

/// A subrequest to the token endpoint, and its response if it could not be cached.
#[derive(Default)]
struct TokenExchange(Mutex<TokenSources>);

#[derive(Default)]
struct TokenSources {
    is_begun: bool,
    answer: Option<Result<PendingResponse>>,
}

impl TokenEndpointHandler {
    pub(crate) fn new(
        cache: Option<TokenCache>,
        scope_expansion: Option<ScopeExpansion>,
        subrequests: Arc<SubrequestClient>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            cache,
            scope_expansion,
            subrequests,
            metrics,
        }
    }

    /// Handles the request; `None` forwards it.
    pub(crate) async fn handle(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        let head = session.req_header().clone();
        if !is_plain(&head) {
            return Ok(None);
        }
        let cacheable = self.cache.as_ref().and_then(|cache| {
            let request = cache.cache_key(head.raw_path(), &head)?;
            Some((cache, request))
        });
        let expansion = self.scope_expansion.as_ref();
        let is_observed = expansion.is_some_and(|it| it.is_token_request(head.raw_path(), &head));
        if let Some((cache, request)) = cacheable {
            let response = self.cached_or_fetch(session, context, cache, &request, &head);
            if let Some(response) = response.await? {
                return Ok(Some(response));
            }
        }
        if !is_observed {
            return Ok(None);
        }
        let response = self.fetch(session, context, &head).await?;
        Ok(Some(response))
    }

    /// Passes on the registry's own response, and learns scopes from it.
    async fn fetch(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
        head: &RequestHeader,
    ) -> Result<Response> {
        let response = async {
            let exchange = TokenExchange::default();
            self.fetch_token(head, &exchange).await;
            exchange
                .end()
                .unwrap_or(Err(Error::new_up(ConnectionClosed)))
        };
        let answer = while_client_waits(session, context, response).await?;
        Ok(Response::Upstream(Box::new(answer)))
    }

    /// Responds from the cache, or fills it; `None` forwards the request by itself.
    async fn cached_or_fetch(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
        cache: &TokenCache,
        request: &TokenRequest,
        head: &RequestHeader,
    ) -> Result<Option<Response>> {
        let (exchange, begun) = (TokenExchange::default(), Instant::now());
        let fetch = self.fetch_token(head, &exchange);
        let answer = tokio::select! {
            answer = Box::pin(cache.get_or_fetch(request, head, fetch)) => answer,
            () = exchange.patience() => Err(NotCached),
            gone = client_disconnected(session) => return Err(gone),
        };
        let is_own = exchange.is_begun();
        if is_own {
            context.sent_at = Some(begun);
            context.response_time = Some(begun.elapsed());
        }
        self.metrics
            .token_cache_request(if !is_own && answer.is_ok() {
                CacheResult::Hit
            } else {
                CacheResult::Miss
            });
        match (answer, exchange.end()) {
            (_, Some(Err(error))) => Err(error),
            (_, Some(Ok(alone))) => Ok(Some(Response::Upstream(Box::new(alone)))),
            (Ok(answer), None) => cached_response(&answer, !is_own).map(Some),
            (Err(_), None) => Ok(None),
        }
    }

    /// The response to a request with more scopes, and its target. If more scopes are refused, the
    /// response to the client's own request.
    async fn fetch_with_expanded_scope(
        &self,
        head: &RequestHeader,
    ) -> Result<(PendingResponse, Vec<u8>)> {
        let own_target = head.raw_path().to_vec();
        let expanded = match &self.scope_expansion {
            Some(expansion) => expansion
                .expand(head.raw_path(), head)
                .await
                .zip(Some(expansion)),
            None => None,
        };
        let Some((target, expansion)) = expanded else {
            return Ok((self.subrequests.send(head.clone()).await?, own_target));
        };
        let mut expanded = head.clone();
        expanded.set_raw_path(&target)?;
        let answer = self.subrequests.send(expanded).await?;
        if answer.status() == StatusCode::OK {
            return Ok((answer, target));
        }
        let own = self.subrequests.send(head.clone()).await?;
        if own.status() == StatusCode::OK {
            expansion.record_refusal();
        }
        Ok((own, own_target))
    }

    /// Fetches a response; one that is too long or incomplete is left in `exchange`.
    async fn fetch_token(
        &self,
        head: &RequestHeader,
        exchange: &TokenExchange,
    ) -> Option<(pingora::http::ResponseHeader, Bytes)> {
        exchange.begin();
        let fetched = async {
            let (mut answer, target) = self.fetch_with_expanded_scope(head).await?;
            let body = answer.body(LONGEST).await?.map(Bytes::copy_from_slice);
            if let (Some(expansion), Some(body)) = (&self.scope_expansion, &body)
                && answer.status() == StatusCode::OK
            {
                expansion.record_grant(&target, head, body).await;
            }
            Ok((answer, body))
        };
        match fetched.await {
            Ok((answer, body)) => {
                let whole = body.map(|body| (answer.head().clone(), body));
                exchange.set(Ok(answer));
                whole
            }
            Err(error) => {
                exchange.set(Err(error));
                None
            }
        }
    }
}

impl TokenExchange {
    fn begin(&self) {
        self.0.lock().is_begun = true;
    }

    fn is_begun(&self) -> bool {
        self.0.lock().is_begun
    }

    fn set(&self, answer: Result<PendingResponse>) {
        self.0.lock().answer = Some(answer);
    }

    /// The response to this subrequest, as far as it came.
    fn end(self) -> Option<Result<PendingResponse>> {
        self.0.into_inner().answer
    }

    /// Ends if an equal request in flight takes too long; the wait for one's own has no limit.
    async fn patience(&self) {
        tokio::time::sleep(FOLLOWS_FOR).await;
        if self.is_begun() {
            std::future::pending::<()>().await;
        }
    }
}

/// A cached response as it came, with its age (RFC 9111, 5.1).
fn cached_response(answer: &CachedToken, is_from_cache: bool) -> Result<Response> {
    let mut head = answer.head.clone();
    head.remove_header(&header::TRANSFER_ENCODING);
    head.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
    if is_from_cache {
        head.insert_header(header::AGE, answer.age())?;
    }
    Ok(Response::Own(Box::new(head), Some(answer.body.clone())))
}
