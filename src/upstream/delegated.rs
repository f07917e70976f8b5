//! crossmount's own requests with the caller's credentials, to a registry that decides all access.
//!
//! They carry the caller's Authorization and the client's Host, because a token may be good only
//! for the host for which it was issued (`pulp_container/app/token_verification.py`). They carry
//! forwarding headers: the registry may have rules by address, and its response may go to the
//! client. They belong to the client's trace. No other header of the client's is in them.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::Result;
use pingora::http::RequestHeader;

use crate::config::UpstreamConfig;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Trace;
use crate::upstream::client::USER_AGENT;
use crate::upstream::storage::StorageClient;
use crate::upstream::subrequest::{PendingResponse, SubrequestClient};

/// Sends requests on behalf of callers to one registry.
#[derive(Debug, Clone)]
pub(crate) struct DelegatedClient {
    subrequests: Arc<SubrequestClient>,
    /// The path of the registry's API, with slashes at both ends.
    prefix: String,
    /// Follows the registry's redirects of blobs.
    pub(crate) storage: Arc<StorageClient>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The caller on whose behalf a request is sent.
#[derive(Debug, Clone)]
pub(crate) struct CallerIdentity {
    /// The client's Host.
    pub(crate) host: HeaderValue,
    /// The caller's Authorization, if there is one.
    authorization: Option<HeaderValue>,
    /// Forwarding headers, and the client's trace.
    pub(crate) forwarded: Vec<(HeaderName, HeaderValue)>,
}

/// Forwarded headers, besides all that begin with `x-forwarded-`.
const FORWARDED: &[&str] = &["forwarded", "x-real-ip", "x-request-id"];

impl CallerIdentity {
    /// The caller of a client's request with these headers; `None` if they name no host.
    pub(crate) fn for_request(
        headers: &HeaderMap,
        authorization: Option<&HeaderValue>,
    ) -> Option<Self> {
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

    /// Sets the registry's host as the client calls it, and nothing of the caller's.
    pub(crate) fn anonymous(&self, mut head: RequestHeader) -> Result<RequestHeader> {
        head.insert_header(header::HOST, &self.host)?;
        head.insert_header(header::USER_AGENT, USER_AGENT)?;
        Ok(head)
    }
}

impl DelegatedClient {
    /// Sends through `subrequests` to the registry of `upstream`.
    pub(crate) fn new(
        subrequests: Arc<SubrequestClient>,
        upstream: &UpstreamConfig,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            subrequests,
            prefix: upstream.prefix.clone(),
            storage: Arc::new(StorageClient::new(upstream)),
            metrics,
        }
    }

    /// Sends a request without a body; `path` is made from parsed names and relative to the prefix.
    pub(crate) async fn request(
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
        self.subrequests.send(head).await
    }

    /// The head of such a request.
    pub(crate) fn head(
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

    /// Sends the requests with a body.
    pub(crate) fn subrequests(&self) -> &SubrequestClient {
        &self.subrequests
    }
}
