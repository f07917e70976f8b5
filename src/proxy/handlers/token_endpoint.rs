//! Requests to the registry's own token endpoint, answered from memory or widened where that is
//! allowed.

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
use crate::telemetry::labels::TokenSource;
use crate::telemetry::metrics::Metrics;
use crate::token_cache::{
    CachedToken, LONGEST, NotCached, ScopeExpansion, TokenCache, TokenRequest,
};
use crate::upstream::{PendingResponse, SubrequestClient};

/// How long one waits for the answer to somebody else's equal question before asking alone.
const FOLLOWS_FOR: Duration = Duration::from_secs(5);

/// Stands before the token endpoint.
#[derive(Debug)]
pub struct TokenEndpointHandler {
    answers: Option<TokenCache>,
    widening: Option<ScopeExpansion>,
    exchange: Arc<SubrequestClient>,
    metrics: Arc<Metrics>,
}

/// A question of our own, and what became of it.
#[derive(Default)]
struct TokenExchange(Mutex<TokenSources>);

#[derive(Default)]
struct TokenSources {
    is_begun: bool,
    answer: Option<Result<PendingResponse>>,
}

impl TokenEndpointHandler {
    /// Through `exchange`; either may be left out.
    pub fn new(
        answers: Option<TokenCache>,
        widening: Option<ScopeExpansion>,
        exchange: Arc<SubrequestClient>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            answers,
            widening,
            exchange,
            metrics,
        }
    }

    /// `Ok(None)` forwards the request.
    pub(crate) async fn handle(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Option<Response>> {
        let head = session.req_header().clone();
        if !is_plain(&head) {
            return Ok(None);
        }
        let question = self.answers.as_ref().and_then(|answers| {
            let question = answers.cache_key(head.raw_path(), &head)?;
            Some((answers, question))
        });
        let widening = self.widening.as_ref();
        let is_learned_from =
            widening.is_some_and(|it| it.is_token_request(head.raw_path(), &head));
        if let Some((answers, question)) = question {
            let response = self.cached_or_fetch(session, context, (answers, &question), &head);
            if let Some(response) = response.await? {
                return Ok(Some(response));
            }
        }
        if !is_learned_from {
            return Ok(None);
        }
        let response = self.fetch(session, context, &head).await?;
        Ok(Some(response))
    }

    /// The registry's own answer, from which something is learned.
    async fn fetch(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
        head: &RequestHeader,
    ) -> Result<Response> {
        let ask = async {
            let asked = TokenExchange::default();
            self.ask(head, &asked).await;
            asked.end().unwrap_or(Err(Error::new_up(ConnectionClosed)))
        };
        let answer = while_client_waits(session, context, ask).await?;
        Ok(Response::Upstream(Box::new(answer)))
    }

    /// From memory, or what will be remembered; `Ok(None)` where it is to be asked for alone.
    async fn cached_or_fetch(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
        (answers, question): (&TokenCache, &TokenRequest),
        head: &RequestHeader,
    ) -> Result<Option<Response>> {
        let (asked, begun) = (TokenExchange::default(), Instant::now());
        let ask = self.ask(head, &asked);
        let answer = tokio::select! {
            answer = Box::pin(answers.get_or_fetch(question, head, ask)) => answer,
            () = asked.patience() => Err(NotCached),
            gone = client_disconnected(session) => return Err(gone),
        };
        let is_own = asked.is_begun();
        if is_own {
            context.asked = Some(begun);
            context.answered_after = Some(begun.elapsed());
        }
        self.metrics
            .token_cache_request(if !is_own && answer.is_ok() {
                TokenSource::Memory
            } else {
                TokenSource::Upstream
            });
        match (answer, asked.end()) {
            (_, Some(Err(error))) => Err(error),
            (_, Some(Ok(alone))) => Ok(Some(Response::Upstream(Box::new(alone)))),
            (Ok(answer), None) => cached_response(&answer, !is_own).map(Some),
            (Err(_), None) => Ok(None),
        }
    }

    /// The answer to a request with more scopes, if it may have them, and its target; where that
    /// is refused, the answer to the client's own.
    async fn fetch_with_expanded_scope(
        &self,
        head: &RequestHeader,
    ) -> Result<(PendingResponse, Vec<u8>)> {
        let own_target = head.raw_path().to_vec();
        let widened = match &self.widening {
            Some(widening) => widening
                .expand(head.raw_path(), head)
                .await
                .zip(Some(widening)),
            None => None,
        };
        let Some((target, widening)) = widened else {
            return Ok((self.exchange.send(head.clone()).await?, own_target));
        };
        let mut wide = head.clone();
        wide.set_raw_path(&target)?;
        let answer = self.exchange.send(wide).await?;
        if answer.status() == StatusCode::OK {
            return Ok((answer, target));
        }
        let own = self.exchange.send(head.clone()).await?;
        if own.status() == StatusCode::OK {
            widening.record_refusal();
        }
        Ok((own, own_target))
    }

    /// Fetches an answer; one that is too long or breaks off is left in `asked`.
    async fn ask(
        &self,
        head: &RequestHeader,
        asked: &TokenExchange,
    ) -> Option<(pingora::http::ResponseHeader, Bytes)> {
        asked.begin();
        let fetched = async {
            let (mut answer, asked) = self.fetch_with_expanded_scope(head).await?;
            let body = answer.body(LONGEST).await?.map(Bytes::copy_from_slice);
            if let (Some(widening), Some(body)) = (&self.widening, &body)
                && answer.status() == StatusCode::OK
            {
                widening.record_grant(&asked, head, body).await;
            }
            Ok((answer, body))
        };
        match fetched.await {
            Ok((answer, body)) => {
                let whole = body.map(|body| (answer.head().clone(), body));
                asked.set(Ok(answer));
                whole
            }
            Err(error) => {
                asked.set(Err(error));
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

    /// The answer to a question of our own, as far as it came.
    fn end(self) -> Option<Result<PendingResponse>> {
        self.0.into_inner().answer
    }

    /// Ends where somebody else's question takes too long; one's own may take its time.
    async fn patience(&self) {
        tokio::time::sleep(FOLLOWS_FOR).await;
        if self.is_begun() {
            std::future::pending::<()>().await;
        }
    }
}

/// A cached response as it came, with its age (RFC 9111, 5.1) if it is not this request's own.
fn cached_response(answer: &CachedToken, is_from_cache: bool) -> Result<Response> {
    let mut head = answer.head.clone();
    head.remove_header(&header::TRANSFER_ENCODING);
    head.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
    if is_from_cache {
        head.insert_header(header::AGE, answer.age())?;
    }
    Ok(Response::Own(Box::new(head), Some(answer.body.clone())))
}
