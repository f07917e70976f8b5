//! The client for crossmount's own requests to the registry.
//!
//! A request carries the caller's Authorization and trace, and nothing else of the client's: Host,
//! User-Agent and path are crossmount's. No redirect is followed, because a redirect must not see
//! credentials, and no proxy of the environment is used.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;

use crate::config::{DistributionVersion, UpstreamConfig, UpstreamUrl};
use crate::oci::finds_scope_insufficient;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Trace;
use crate::upstream::reachability::ReachabilityCheck;
use crate::upstream::state::RegistryState;
use crate::upstream::tls::{ClientCertificate, Trust, UpstreamTls, UpstreamTlsError};
use crate::upstream::version;

/// Responses to probes are short; no more than this is read of a body.
const MAX_BODY: usize = 64 * 1024;
/// The client, and what its requests show about the registry.
#[derive(Debug)]
pub(crate) struct UpstreamClient {
    tls: Arc<UpstreamTls>,
    /// Scheme, authority and prefix; ends with `/`.
    base: String,
    pub(super) registry_state: Arc<RegistryState>,
    pub(super) reachability: Arc<ReachabilityCheck>,
    pub(super) metrics: Arc<Metrics>,
}

/// The result of a probe of the API's base.
#[derive(Debug)]
pub(crate) struct ApiProbe {
    /// What its response means.
    pub answer: ApiProbeResult,
    /// The version of distribution that the response shows, if any.
    pub version: Option<DistributionVersion>,
}

/// The registry's response at its base, `/v2/`, to a request without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiProbeResult {
    /// 200: the API needs no credentials.
    Open,
    /// 401: the API needs credentials.
    Challenge,
    /// Any other status.
    Strange(StatusCode),
    /// No response.
    Unreachable(String),
}

/// The response to a request of crossmount's own.
pub(crate) struct UpstreamResponse {
    pub status: StatusCode,
    /// Whether the challenge says that the token is verified and lacks a scope.
    pub is_scope_insufficient: bool,
    /// The version of distribution, if the headers show one.
    pub version: Option<DistributionVersion>,
    pub body: Vec<u8>,
}

/// Why a request got no response.
pub(crate) enum UpstreamError {
    TimedOut,
    /// No connection was made.
    Unconnected(String),
    /// The connection broke.
    Broken(String),
}

impl UpstreamClient {
    /// Uses the HTTP client of `tls`; nothing is connected yet.
    pub(crate) fn new(
        upstream: &UpstreamConfig,
        tls: Arc<UpstreamTls>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let registry_state = Arc::new(RegistryState::default());
        let reachability = ReachabilityCheck::new(upstream, registry_state.clone());
        Self {
            tls,
            base: format!("{}{}", authority(&upstream.url), upstream.prefix),
            registry_state,
            reachability: Arc::new(reachability),
            metrics,
        }
    }

    /// What is known about the registry: every request of this client updates it.
    pub(crate) fn registry_state(&self) -> &Arc<RegistryState> {
        &self.registry_state
    }

    /// The check that follows a broken connection.
    pub(crate) fn reachability(&self) -> &Arc<ReachabilityCheck> {
        &self.reachability
    }

    /// Probes the registry's base without credentials. No client waits for it, so it is not part of
    /// the metrics of upstream requests.
    pub(crate) async fn probe_api(&self, deadline: Instant) -> ApiProbe {
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

    /// Sends one request without a body; `path` is made from parsed names, relative to the prefix.
    pub(super) async fn send(
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

fn authority(url: &UpstreamUrl) -> String {
    match url {
        UpstreamUrl::Unix(_) => "http://localhost".to_owned(),
        tcp @ UpstreamUrl::Tcp { .. } => tcp.to_string(),
    }
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

/// The User-Agent of crossmount's own requests.
pub(crate) const USER_AGENT: &str = concat!("crossmount/", env!("CARGO_PKG_VERSION"));

/// The HTTP client for requests to the registry; `shown` is the client certificate.
pub(crate) fn build(
    upstream: &UpstreamConfig,
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
        // No root is needed without TLS, and an image of the binary alone has none.
        builder = builder.tls_certs_only([]);
    } else if let Some(config) = trust.for_rustls(shown)? {
        builder = builder.tls_backend_preconfigured(config);
    } else if let Some(certificate) = shown {
        let identity = reqwest::Identity::from_pem(certificate.pem().as_bytes());
        builder = builder.identity(identity.map_err(wrong)?);
    }
    builder.build().map_err(wrong)
}

/// Reads the certificates of a file.
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

/// The innermost error's message.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
