//! Questions of our own in a caller's name, to a registry that decides everything itself.
//!
//! They carry the caller's Authorization and the client's Host, because a token may be good only
//! for the host for which it was made (`pulp_container/app/token_verification.py`), and what
//! proxies said of the client: the registry may have rules by address, and its answer may go to
//! the client. They belong to the client's trace. Nothing else of the client's is in them.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::Result;
use pingora::http::RequestHeader;

use crate::config::Upstream;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Trace;
use crate::upstream::http_client::USER_AGENT;
use crate::upstream::storage::StorageClient;
use crate::upstream::subrequest::{PendingResponse, SubrequestClient};

/// Asks one registry.
#[derive(Debug, Clone)]
pub struct DelegatedClient {
    exchange: Arc<SubrequestClient>,
    /// The registry's own, with slashes at both ends.
    prefix: String,
    /// Where it redirects the readers of blobs.
    pub(crate) storage: Arc<StorageClient>,
    pub(crate) metrics: Arc<Metrics>,
}

/// In whose name.
#[derive(Debug, Clone)]
pub struct CallerIdentity {
    /// The client's.
    pub(crate) host: HeaderValue,
    /// The caller's own, if there is one.
    authorization: Option<HeaderValue>,
    /// What proxies said of the client, and its trace.
    pub(crate) forwarded: Vec<(HeaderName, HeaderValue)>,
}

/// What names a request and whose it is, besides all headers that begin with `x-forwarded-`.
const FORWARDED: &[&str] = &["forwarded", "x-real-ip", "x-request-id"];

impl CallerIdentity {
    /// Of a client's request with these headers, in the name of its one login; `None` where it names no host.
    pub fn for_request(headers: &HeaderMap, authorization: Option<&HeaderValue>) -> Option<Self> {
        let is_forwarded = |name: &HeaderName| {
            let name = name.as_str();
            name.starts_with("x-forwarded-") || FORWARDED.contains(&name)
        };
        let forwarded = headers.iter().filter(|(name, _)| is_forwarded(name));
        let forwarded = forwarded.map(|(name, value)| (name.clone(), value.clone()));
        let trace = Trace::from_headers(headers);
        Some(Self {
            host: headers.get(header::HOST)?.clone(),
            authorization: authorization.cloned(),
            forwarded: forwarded
                .chain(trace.iter().flat_map(Trace::headers))
                .collect(),
        })
    }

    /// Puts into a head the registry's host as the client calls it, and nothing of the caller's.
    pub(crate) fn anonymous(&self, mut head: RequestHeader) -> Result<RequestHeader> {
        head.insert_header(header::HOST, &self.host)?;
        head.insert_header(header::USER_AGENT, USER_AGENT)?;
        Ok(head)
    }
}

impl DelegatedClient {
    /// Asks the registry that `upstream` describes through `exchange`.
    pub fn new(
        exchange: Arc<SubrequestClient>,
        upstream: &Upstream,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            exchange,
            prefix: upstream.prefix.clone(),
            storage: Arc::new(StorageClient::new(upstream)),
            metrics,
        }
    }

    /// Asks a question without a body; `path` is made from parsed names and relative to the prefix.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        name: &CallerIdentity,
    ) -> Result<PendingResponse> {
        let mut head = self.head(&method, path, name)?;
        if matches!(method, Method::POST | Method::PUT) {
            head.insert_header(header::CONTENT_LENGTH, "0")?;
        }
        let _timer = self.metrics.upstream_timer();
        self.exchange.send(head).await
    }

    /// The head of such a question.
    pub fn head(
        &self,
        method: &Method,
        path: &str,
        name: &CallerIdentity,
    ) -> Result<RequestHeader> {
        let target = format!("{}{path}", self.prefix);
        let mut head = RequestHeader::build(method.clone(), target.as_bytes(), Some(6))?;
        head.insert_header(header::HOST, &name.host)?;
        head.insert_header(header::USER_AGENT, USER_AGENT)?;
        if let Some(value) = &name.authorization {
            head.insert_header(header::AUTHORIZATION, value)?;
        }
        for (header, value) in &name.forwarded {
            head.append_header(header.clone(), value)?;
        }
        Ok(head)
    }

    /// By which a question with a body is sent.
    pub fn exchange(&self) -> &SubrequestClient {
        &self.exchange
    }
}
