//! Requests to the registry's own token endpoint, answered from memory where that is allowed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header;
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::classify::is_plain;
use super::client_left;
use super::context::Context;
use crate::metrics::Metrics;
use crate::tokens::{Answer, LONGEST, NotKept, TokenAnswers};
use crate::upstream::{Exchange, Held};

/// How long one waits for the answer to somebody else's equal question before asking alone.
const FOLLOWS_FOR: Duration = Duration::from_secs(5);

/// Remembers what the token endpoint answered.
#[derive(Debug)]
pub struct TokenEndpoint {
    answers: TokenAnswers,
    exchange: Arc<Exchange>,
    metrics: Arc<Metrics>,
}

/// A question of our own, and what became of it.
#[derive(Default)]
struct Asked(Mutex<State>);

#[derive(Default)]
struct State {
    is_begun: bool,
    answer: Option<Result<Held>>,
}

impl TokenEndpoint {
    /// Through `exchange`.
    #[must_use]
    pub fn new(answers: TokenAnswers, exchange: Arc<Exchange>, metrics: Arc<Metrics>) -> Self {
        Self {
            answers,
            exchange,
            metrics,
        }
    }

    /// `Ok(false)` leaves the request to the registry.
    pub(super) async fn answer(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> Result<bool> {
        let head = session.req_header().clone();
        let Some(question) = self.answers.question(head.raw_path(), &head) else {
            return Ok(false);
        };
        if !is_plain(&head) {
            return Ok(false);
        }
        let (asked, begun) = (Asked::default(), Instant::now());
        let ask = self.ask(&head, &asked);
        let answer = tokio::select! {
            answer = Box::pin(self.answers.answer(&question, &head, ask)) => answer,
            () = asked.patience() => Err(NotKept),
            gone = client_left(session) => return Err(gone),
        };
        let is_own = asked.is_begun();
        if is_own {
            context.asked = Some(begun);
            context.answered_after = Some(begun.elapsed());
        }
        self.metrics.token_answer(!is_own && answer.is_ok());
        match (answer, asked.end()) {
            (_, Some(Err(error))) => Err(error),
            (_, Some(Ok(alone))) => alone.pass_on(session).await.map(|()| true),
            (Ok(answer), None) => {
                let given = give(session, &answer, !is_own).await;
                given.map_err(pingora::Error::into_down)?;
                Ok(true)
            }
            (Err(_), None) => Ok(false),
        }
    }

    /// Fetches an answer; one that is too long or breaks off is left in `asked`.
    async fn ask(
        &self,
        head: &RequestHeader,
        asked: &Asked,
    ) -> Option<(pingora::http::ResponseHeader, Bytes)> {
        asked.begin();
        let fetched = async {
            let mut answer = self.exchange.send(head.clone()).await?;
            let body = answer.body(LONGEST).await?.map(Bytes::copy_from_slice);
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

impl Asked {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock, and each change is whole in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        self.state().is_begun = true;
    }

    fn is_begun(&self) -> bool {
        self.state().is_begun
    }

    fn set(&self, answer: Result<Held>) {
        self.state().answer = Some(answer);
    }

    /// The answer to a question of our own, as far as it came.
    fn end(self) -> Option<Result<Held>> {
        let state = self.0.into_inner();
        state.unwrap_or_else(PoisonError::into_inner).answer
    }

    /// Ends where somebody else's question takes too long; one's own may take its time.
    async fn patience(&self) {
        tokio::time::sleep(FOLLOWS_FOR).await;
        if self.is_begun() {
            std::future::pending::<()>().await;
        }
    }
}

/// Gives a remembered answer as it came, with its age (RFC 9111, 5.1).
async fn give(session: &mut Session, answer: &Answer, is_remembered: bool) -> Result<()> {
    let mut head = answer.head.clone();
    head.remove_header(&header::TRANSFER_ENCODING);
    head.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
    if is_remembered {
        head.insert_header(header::AGE, answer.age())?;
    }
    session.write_response_header(Box::new(head), false).await?;
    session
        .write_response_body(Some(answer.body.clone()), true)
        .await
}
