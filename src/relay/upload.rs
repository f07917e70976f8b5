//! One upload session in the registry, with a caller's own credentials.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pingora::http::RequestHeader;

use super::artifact::Artifact;
use super::{Errand, Relay, reading};
use crate::access::Credentials;
use crate::metrics::Metrics;
use crate::oci::{Digest, RepositoryName};
use crate::upstream::{Exchange, Held, USER_AGENT};

/// How long the end of an abandoned session may take.
const GIVING_UP: Duration = Duration::from_secs(5);

/// Why an upload came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadFault {
    #[error("the registry did not answer: {0}")]
    NoAnswer(&'static str),
    #[error("the registry answered {step} with {status}")]
    Refused {
        step: &'static str,
        status: StatusCode,
    },
    #[error("the registry named no session of this repository")]
    NoSession,
    #[error("it was not done in time")]
    Late,
    #[error("the registry names another digest")]
    OtherDigest,
}

/// Asks in a caller's name.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    exchange: &'a Exchange,
    prefix: &'a str,
    metrics: &'a Metrics,
    /// The client's: a token is good only for the host for which it was made
    /// (`pulp_container/app/token_verification.py`).
    host: &'a HeaderValue,
    credentials: &'a Credentials,
}

impl<'a> Asker<'a> {
    pub fn of(relay: &'a Relay, errand: &'a Errand) -> Self {
        Self {
            exchange: &relay.exchange,
            prefix: &relay.prefix,
            metrics: &relay.metrics,
            host: &errand.host,
            credentials: &errand.credentials,
        }
    }

    /// Asks a question without a body; `path` is relative to the prefix.
    pub async fn ask(&self, method: Method, path: &str) -> Result<Held, UploadFault> {
        let mut head = self.head(&method, &format!("{}{path}", self.prefix))?;
        if matches!(method, Method::POST | Method::PUT) {
            head.insert_header(header::CONTENT_LENGTH, "0")
                .map_err(no_answer)?;
        }
        let _timer = self.metrics.upstream_timer();
        self.exchange.send(head).await.map_err(no_answer)
    }

    fn head(&self, method: &Method, target: &str) -> Result<RequestHeader, UploadFault> {
        let build = || {
            let mut head = RequestHeader::build(method.clone(), target.as_bytes(), Some(6))?;
            head.insert_header(header::HOST, self.host)?;
            head.insert_header(header::USER_AGENT, USER_AGENT)?;
            if let Some(value) = self.credentials.header() {
                head.insert_header(header::AUTHORIZATION, value)?;
            }
            Ok(head)
        };
        build().map_err(no_answer)
    }
}

/// A session that was begun.
#[derive(Debug)]
pub(super) struct Upload {
    /// Its path, relative to the prefix.
    path: String,
}

impl Upload {
    pub async fn begin(asker: &Asker<'_>, target: &RepositoryName) -> Result<Self, UploadFault> {
        let folder = format!("v2/{target}/blobs/uploads/");
        let answer = asker.ask(Method::POST, &folder).await?;
        let answer = expect("the beginning", StatusCode::ACCEPTED, answer)?;
        let location = answer.headers().get(header::LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        let identifier = location
            .and_then(|location| location.rsplit_once(&folder))
            .map(|(_, identifier)| identifier)
            .filter(|identifier| is_identifier(identifier))
            .ok_or(UploadFault::NoSession)?;
        Ok(Self {
            path: format!("{folder}{identifier}"),
        })
    }

    /// Sends the artifact, and ends the session with the digest that its bytes have.
    ///
    /// In one PATCH without a range, whose bytes Pulp hashes, unlike those of a PUT.
    pub async fn send(
        &self,
        asker: &Asker<'_>,
        artifact: Artifact,
        digest: &Digest,
        is_given_up: &AtomicBool,
    ) -> Result<Held, UploadFault> {
        if is_given_up.load(Ordering::Acquire) {
            return Err(UploadFault::Late);
        }
        let target = format!("{}{}", asker.prefix, self.path);
        let mut head = asker.head(&Method::PATCH, &target)?;
        let kind = HeaderValue::from_static("application/octet-stream");
        head.insert_header(header::CONTENT_TYPE, kind)
            .map_err(no_answer)?;
        let (size, pieces) = (artifact.size, reading::read(artifact, digest.clone()));
        let sent = asker.exchange.send_with(head, size, pieces).await;
        expect("the bytes", StatusCode::ACCEPTED, sent.map_err(no_answer)?)?;
        if is_given_up.load(Ordering::Acquire) {
            return Err(UploadFault::Late);
        }

        let digest_in_query = utf8_percent_encode(digest.as_str(), NON_ALPHANUMERIC);
        let end = format!("{}?digest={digest_in_query}", self.path);
        let answer = asker.ask(Method::PUT, &end).await?;
        let answer = expect("the end", StatusCode::CREATED, answer)?;
        let named = answer.headers().get("docker-content-digest");
        if named.is_none_or(|named| named != digest.as_str()) {
            return Err(UploadFault::OtherDigest);
        }
        Ok(answer)
    }

    /// Deletes the session.
    pub async fn give_up(&self, asker: &Asker<'_>) {
        let deleted = asker.ask(Method::DELETE, &self.path);
        match tokio::time::timeout(GIVING_UP, deleted).await {
            Ok(Ok(answer)) if answer.status() == StatusCode::NO_CONTENT => {}
            Ok(Ok(answer)) => {
                let status = answer.status().as_u16();
                tracing::warn!(status, "an upload that was given up was not deleted");
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "an upload that was given up was not deleted");
            }
            Err(_) => tracing::warn!("an upload that was given up was not deleted in time"),
        }
    }
}

/// A session's name, and no path or query that somebody could hide behind it.
fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn expect(step: &'static str, wanted: StatusCode, answer: Held) -> Result<Held, UploadFault> {
    match answer.status() {
        status if status == wanted => Ok(answer),
        status => Err(UploadFault::Refused { step, status }),
    }
}

/// Only the kind: the whole may quote a head.
#[allow(
    clippy::boxed_local,
    clippy::needless_pass_by_value,
    reason = "Pingora's errors come boxed"
)]
fn no_answer(error: Box<pingora::Error>) -> UploadFault {
    UploadFault::NoAnswer(match error.etype() {
        pingora::ErrorType::InternalError => "the bytes were abandoned",
        kind => kind.as_str(),
    })
}
