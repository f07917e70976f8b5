//! Requests to the registry's own token endpoint, answered from memory where that is allowed.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header;
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::classify::is_plain;
use super::context::Context;
use crate::metrics::Metrics;
use crate::tokens::{Answer, LONGEST, TokenAnswers};
use crate::upstream::{Exchange, Held};

/// Remembers what the token endpoint answered.
#[derive(Debug)]
pub struct TokenEndpoint {
    answers: TokenAnswers,
    exchange: Arc<Exchange>,
    metrics: Arc<Metrics>,
}

/// What became of a question of our own.
#[derive(Default)]
struct Asked {
    /// The answer, where it is this client's alone.
    alone: Option<Held>,
    failed: Option<Box<pingora::Error>>,
    is_begun: bool,
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
        let head = session.req_header();
        let Some(question) = self.answers.question(head.raw_path(), head) else {
            return Ok(false);
        };
        if !is_plain(head) {
            return Ok(false);
        }
        let (mut asked, begun) = (Asked::default(), Instant::now());
        let ask = self.ask(head, &mut asked);
        let answer = Box::pin(self.answers.answer(&question, head, ask)).await;
        if asked.is_begun {
            context.asked = Some(begun);
            context.answered_after = Some(begun.elapsed());
        }
        self.metrics.token_answer(!asked.is_begun && answer.is_ok());
        match (answer, asked.alone, asked.failed) {
            (_, _, Some(error)) => Err(error),
            (_, Some(alone), None) => alone.pass_on(session).await.map(|()| true),
            (Ok(answer), None, None) => {
                give(session, &answer, !asked.is_begun).await?;
                Ok(true)
            }
            (Err(_), None, None) => Ok(false),
        }
    }

    /// Fetches an answer; one that is too long or breaks off is left in `asked`.
    async fn ask(
        &self,
        head: &RequestHeader,
        asked: &mut Asked,
    ) -> Option<(pingora::http::ResponseHeader, Bytes)> {
        asked.is_begun = true;
        let fetched = async {
            let mut answer = self.exchange.send(head.clone()).await?;
            let body = answer.body(LONGEST).await?.map(Bytes::copy_from_slice);
            Ok((answer, body))
        };
        match fetched.await {
            Ok((answer, body)) => {
                let whole = body.map(|body| (answer.head().clone(), body));
                asked.alone = Some(answer);
                whole
            }
            Err(error) => {
                asked.failed = Some(error);
                None
            }
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
