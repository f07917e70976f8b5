//! The one client for questions of our own.
//!
//! A question carries the caller's Authorization and trace, and nothing else of the caller's: Host,
//! User-Agent and path are ours. No redirect is followed and no proxy of the environment used.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;

use crate::config::{Upstream, UpstreamUrl};
use crate::metrics::Metrics;
use crate::oci::finds_scope_insufficient;
use crate::ops::Trace;

/// Answers to questions are short; more than this is not read.
const MAX_BODY: usize = 64 * 1024;
/// How a question names itself.
pub const USER_AGENT: &str = concat!("crossmount/", env!("CARGO_PKG_VERSION"));

/// The client and the registry's address.
#[derive(Debug)]
pub struct Ask {
    client: reqwest::Client,
    /// Scheme, authority and prefix; ends with `/`.
    base: String,
    metrics: Arc<Metrics>,
}

/// Why the client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The roots cannot be read.
    #[error("upstream.ca_certificate: {path}: {reason}")]
    Roots {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client could not be made.
    #[error("no client for the upstream: {0} (upstream.ca_certificate can name its roots)")]
    Client(String),
}

/// What the registry answers at its base, `/v2/`, to a request without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseAnswer {
    /// It serves the API to everybody.
    Open,
    /// It asks for credentials.
    Challenge,
    /// It answers something else.
    Strange(StatusCode),
    /// It gave no answer.
    Unreachable(String),
}

/// An answer to a question.
pub(super) struct Answer {
    pub status: StatusCode,
    /// Whether the challenge says that the token was verified and is too narrow.
    pub is_scope_insufficient: bool,
    pub body: Vec<u8>,
}

/// Why a question has no answer.
pub(super) enum NoAnswer {
    TimedOut,
    /// No connection could be made.
    Unconnected(String),
    /// A connection broke.
    Broken(String),
}

impl Ask {
    /// Builds the client; nothing is connected yet.
    ///
    /// # Errors
    /// [`AskError`]
    pub fn new(upstream: &Upstream, metrics: Arc<Metrics>) -> Result<Self, AskError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .connect_timeout(upstream.timeouts.connect)
            .pool_idle_timeout(upstream.timeouts.idle);
        if let Some(roots) = roots(upstream)? {
            builder = builder.tls_certs_only(roots);
        }
        let authority = match &upstream.url {
            UpstreamUrl::Unix(path) => {
                builder = builder.unix_socket(path.as_path());
                "http://localhost".to_owned()
            }
            tcp @ UpstreamUrl::Tcp { .. } => tcp.to_string(),
        };
        Ok(Self {
            client: builder
                .build()
                .map_err(|error| AskError::Client(innermost(&error)))?,
            base: format!("{authority}{}", upstream.prefix),
            metrics,
        })
    }

    /// Asks the registry's base without credentials. Nobody's request waits for it, so it is not
    /// measured with the others.
    pub async fn base(&self, deadline: Instant) -> BaseAnswer {
        match self.exchange(Method::GET, "v2/", None, deadline).await {
            Ok(answer) if answer.status == StatusCode::OK => BaseAnswer::Open,
            Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => BaseAnswer::Challenge,
            Ok(answer) => BaseAnswer::Strange(answer.status),
            Err(NoAnswer::TimedOut) => BaseAnswer::Unreachable("no answer in time".to_owned()),
            Err(NoAnswer::Unconnected(reason) | NoAnswer::Broken(reason)) => {
                BaseAnswer::Unreachable(reason)
            }
        }
    }

    /// Asks one question; `path` is made from parsed names and relative to the prefix.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Answer, NoAnswer> {
        let _timer = self.metrics.upstream_timer();
        self.exchange(method, path, authorization, deadline).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Answer, NoAnswer> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value.clone());
        }
        for (name, value) in Trace::current().iter().flat_map(Trace::headers) {
            request = request.header(name, value);
        }
        let exchange = async {
            let response = request.send().await?;
            let status = response.status();
            let is_scope_insufficient = finds_scope_insufficient(response.headers());
            let body = read_start(response).await?;
            Ok(Answer {
                status,
                is_scope_insufficient,
                body,
            })
        };
        match tokio::time::timeout_at(deadline, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(broken(&error)),
            Err(_) => Err(NoAnswer::TimedOut),
        }
    }
}

/// The certificates to believe; `None` for the system's own.
fn roots(upstream: &Upstream) -> Result<Option<Vec<reqwest::Certificate>>, AskError> {
    let Some(path) = &upstream.ca_certificate else {
        // Without TLS none is needed, and a system may have none: an image of the binary alone.
        return Ok((!upstream.url.is_tls()).then(Vec::new));
    };
    let wrong = |reason: String| AskError::Roots {
        path: path.display().to_string(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let roots =
        reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
    if roots.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(Some(roots))
}

async fn read_start(mut response: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY {
            break;
        }
    }
    Ok(body)
}

fn broken(error: &reqwest::Error) -> NoAnswer {
    if error.is_timeout() {
        return NoAnswer::TimedOut;
    }
    let reason = innermost(error);
    if error.is_connect() {
        NoAnswer::Unconnected(reason)
    } else {
        NoAnswer::Broken(reason)
    }
}

/// What was wrong in the end, in the words of whoever found it.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
