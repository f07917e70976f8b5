//! The one client for questions of our own.
//!
//! A question carries the caller's Authorization and trace, and nothing else of the caller's: Host,
//! User-Agent and path are ours. No redirect is followed and no proxy of the environment used.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;

use crate::config::{DistributionVersion, Upstream, UpstreamUrl};
use crate::oci::finds_scope_insufficient;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Trace;
use crate::upstream::tls::UpstreamTls;
use crate::upstream::tls::{ClientCertificate, Trust, UpstreamTlsError};
use crate::upstream::version;

/// Answers to questions are short; more than this is not read.
const MAX_BODY: usize = 64 * 1024;
/// How a question names itself.
pub const USER_AGENT: &str = concat!("crossmount/", env!("CARGO_PKG_VERSION"));

/// The client and the registry's address.
#[derive(Debug)]
pub struct UpstreamClient {
    tls: Arc<UpstreamTls>,
    /// Scheme, authority and prefix; ends with `/`.
    base: String,
    metrics: Arc<Metrics>,
}

/// What is learned from the registry's base.
#[derive(Debug)]
pub struct ApiProbe {
    /// What it answers.
    pub answer: ApiProbeResult,
    /// The version that its answer shows, if it shows one.
    pub version: Option<DistributionVersion>,
}

/// What the registry answers at its base, `/v2/`, to a request without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiProbeResult {
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
pub(crate) struct UpstreamResponse {
    pub status: StatusCode,
    /// Whether the challenge says that the token was verified and is too narrow.
    pub is_scope_insufficient: bool,
    /// distribution's version, if the headers show one.
    pub version: Option<DistributionVersion>,
    pub body: Vec<u8>,
}

/// Why a question has no answer.
pub(crate) enum UpstreamError {
    TimedOut,
    /// No connection could be made.
    Unconnected(String),
    /// A connection broke.
    Broken(String),
}

impl UpstreamClient {
    /// Asks by the client of `tls`; nothing is connected yet.
    #[must_use]
    pub fn new(upstream: &Upstream, tls: Arc<UpstreamTls>, metrics: Arc<Metrics>) -> Self {
        Self {
            tls,
            base: format!("{}{}", authority(&upstream.url), upstream.prefix),
            metrics,
        }
    }

    /// Asks the registry's base without credentials. Nobody's request waits for it, so it is not
    /// measured with the others.
    pub async fn probe_api(&self, deadline: Instant) -> ApiProbe {
        let reply = self.send(Method::GET, "v2/", None, deadline).await;
        let version = reply.as_ref().ok().and_then(|answer| answer.version);
        let answer = match reply {
            Ok(answer) if answer.status == StatusCode::OK => ApiProbeResult::Open,
            Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => ApiProbeResult::Challenge,
            Ok(answer) => ApiProbeResult::Strange(answer.status),
            Err(UpstreamError::TimedOut) => {
                ApiProbeResult::Unreachable("no answer in time".to_owned())
            }
            Err(UpstreamError::Unconnected(reason) | UpstreamError::Broken(reason)) => {
                ApiProbeResult::Unreachable(reason)
            }
        };
        ApiProbe { answer, version }
    }

    /// Asks one question; `path` is made from parsed names and relative to the prefix.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let _timer = self.metrics.upstream_timer();
        self.send(method, path, authorization, deadline).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let mut request = self
            .tls
            .client()
            .request(method, format!("{}{path}", self.base));
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
            let version = version::from_headers(response.headers());
            let body = read_start(response).await?;
            Ok(UpstreamResponse {
                status,
                is_scope_insufficient,
                version,
                body,
            })
        };
        match tokio::time::timeout_at(deadline, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(upstream_error(&error)),
            Err(_) => Err(UpstreamError::TimedOut),
        }
    }
}

/// The client that asks; `shown` is the certificate that it shows.
pub(crate) fn client(
    upstream: &Upstream,
    trust: &Trust,
    shown: Option<&ClientCertificate>,
) -> Result<reqwest::Client, UpstreamTlsError> {
    let wrong = |error: reqwest::Error| UpstreamTlsError::Client(root_cause(&error));
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .connect_timeout(upstream.timeouts.connect)
        .pool_idle_timeout(upstream.timeouts.idle);
    if let UpstreamUrl::Unix(path) = &upstream.url {
        builder = builder.unix_socket(path.as_path());
    }
    if !upstream.url.is_tls() {
        // No root is needed, and a system may have none: an image of the binary alone.
        builder = builder.tls_certs_only([]);
    } else if let Some(config) = trust.for_rustls(shown)? {
        builder = builder.tls_backend_preconfigured(config);
    } else if let Some(certificate) = shown {
        let identity = reqwest::Identity::from_pem(certificate.pem().as_bytes());
        builder = builder.identity(identity.map_err(wrong)?);
    }
    builder.build().map_err(wrong)
}

fn authority(url: &UpstreamUrl) -> String {
    match url {
        UpstreamUrl::Unix(_) => "http://localhost".to_owned(),
        tcp @ UpstreamUrl::Tcp { .. } => tcp.to_string(),
    }
}

/// The certificates in a file.
pub(crate) fn read_roots(path: &Path) -> Result<Vec<reqwest::Certificate>, UpstreamTlsError> {
    let wrong = |reason: String| UpstreamTlsError::Roots {
        path: path.display().to_string(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let roots =
        reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
    if roots.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(roots)
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

fn upstream_error(error: &reqwest::Error) -> UpstreamError {
    if error.is_timeout() {
        return UpstreamError::TimedOut;
    }
    let reason = root_cause(error);
    if error.is_connect() {
        UpstreamError::Unconnected(reason)
    } else {
        UpstreamError::Broken(reason)
    }
}

/// What was wrong in the end, in the words of whoever found it.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
