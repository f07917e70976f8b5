//! The admin port: metrics and health, nothing of the registry.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use super::Health;
use crate::metrics::Metrics;

/// Answers on the admin port.
#[derive(Debug)]
pub struct Admin {
    metrics: Arc<Metrics>,
    health: Health,
}

impl Admin {
    /// Shows `metrics` and `health`.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, health: Health) -> Self {
        Self { metrics, health }
    }

    async fn answer(&self, method: &Method, path: &str) -> (StatusCode, Vec<u8>) {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return (
                StatusCode::METHOD_NOT_ALLOWED,
                b"only GET and HEAD\n".into(),
            );
        }
        match path {
            "/healthz" => (StatusCode::OK, b"ok\n".into()),
            "/readyz" => match self.health.ready().await {
                Ok(()) => (StatusCode::OK, b"ready\n".into()),
                Err(reason) => {
                    let text = format!("not ready: {reason}\n");
                    (StatusCode::SERVICE_UNAVAILABLE, text.into_bytes())
                }
            },
            "/metrics" => match self.metrics.render() {
                Ok(text) => (StatusCode::OK, text),
                Err(error) => {
                    let text = format!("{error}\n");
                    (StatusCode::INTERNAL_SERVER_ERROR, text.into_bytes())
                }
            },
            _ => (
                StatusCode::NOT_FOUND,
                b"/metrics, /healthz and /readyz are here\n".into(),
            ),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let method = request.method.clone();
        let path = request.uri.path().to_owned();
        let (status, body) = self.answer(&method, &path).await;
        let kind = if path == "/metrics" {
            "text/plain; version=0.0.4; charset=utf-8"
        } else {
            "text/plain; charset=utf-8"
        };
        let length = body.len();
        let body = if method == Method::HEAD {
            Vec::new()
        } else {
            body
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_LENGTH, length.into());
        response
    }
}
