//! Serves the admin port: the page, metrics and health, and nothing of the registry.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use crate::admin::drained::Drained;
use crate::admin::health::Health;
use crate::admin::page;
use crate::admin::status::StatusSource;
use crate::telemetry::metrics::Metrics;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const HERE: &str = "/, /status.json, /metrics, /healthz, /readyz and /drained are here\n";

/// Security headers of every response: a browser loads only from this port, and shows the page in
/// no frame of another one.
const SAFETY: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Responds to requests on the admin port.
#[derive(Debug)]
pub(crate) struct AdminService {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    status: Arc<StatusSource>,
    drained: Drained,
}

struct AdminResponse {
    status: StatusCode,
    kind: &'static str,
    body: Vec<u8>,
}

impl AdminResponse {
    fn new(status: StatusCode, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, kind, body }
    }

    fn ok(kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self::new(StatusCode::OK, kind, body)
    }

    /// The body, or the error that kept it from being written.
    fn written<E: std::fmt::Display>(kind: &'static str, body: Result<Vec<u8>, E>) -> Self {
        match body {
            Ok(body) => Self::ok(kind, body),
            Err(error) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                TEXT,
                format!("{error}\n"),
            ),
        }
    }
}

impl AdminService {
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        status: Arc<StatusSource>,
        drained: Drained,
    ) -> Self {
        Self {
            metrics,
            health,
            status,
            drained,
        }
    }

    async fn route(&self, method: &Method, path: &str, query: &str) -> AdminResponse {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let text = "only GET and HEAD\n";
            return AdminResponse::new(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
        }
        match path {
            "/status.json" => AdminResponse::written("application/json", self.status.json().await),
            "/healthz" => AdminResponse::ok(TEXT, "ok\n"),
            "/readyz" => match self.health.ready().await {
                Ok(()) => AdminResponse::ok(TEXT, "ready\n"),
                Err(reason) => {
                    let text = format!("not ready: {reason}\n");
                    AdminResponse::new(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
                }
            },
            "/metrics" => {
                // Checked at each scrape: an unready process gets no traffic that would set it.
                self.metrics.ready(self.health.ready().await.is_ok());
                AdminResponse::written(METRICS, self.metrics.render())
            }
            // The kubelet before 1.26 puts one more slash before the path of a hook.
            "/drained" | "//drained" => match self.drained.wait(query).await {
                Ok(text) => AdminResponse::ok(TEXT, text),
                Err(error) => {
                    AdminResponse::new(StatusCode::BAD_REQUEST, TEXT, format!("{error}\n"))
                }
            },
            path => match page::file(path) {
                Some((kind, text)) => AdminResponse::ok(kind, text),
                None => AdminResponse::new(StatusCode::NOT_FOUND, TEXT, HERE),
            },
        }
    }
}

#[async_trait]
impl ServeHttp for AdminService {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let method = request.method.clone();
        let uri = request.uri.clone();
        let query = uri.query().unwrap_or_default();
        let answer = tokio::select! {
            answer = self.route(&method, uri.path(), query) => answer,
            // Without its client a request for `/drained` has no effect.
            _ = session.read_body_or_idle(true) => AdminResponse::new(StatusCode::BAD_REQUEST, TEXT, ""),
        };
        let length = answer.body.len();
        let body = if method == Method::HEAD {
            Vec::new()
        } else {
            answer.body
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static(answer.kind);
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CONTENT_LENGTH, length.into());
        for (name, value) in SAFETY {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
