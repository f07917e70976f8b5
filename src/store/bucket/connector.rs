//! Sends the library's requests, and keeps what a refusal of a listing said.
//!
//! The library hides the status of a failed listing behind types of its own, and retries it. Here a
//! failed listing becomes a [`Refusal`], which it passes on: when to try again is decided by the
//! part that lists.

use async_trait::async_trait;
use http::header::RETRY_AFTER;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use std::time::Duration;

/// A response to a listing that is not a listing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}")]
pub(super) struct Refusal {
    pub status: u16,
    /// The error's code, such as `AccessDenied`; empty if the server did not say one.
    pub code: String,
    /// When the server wants the next attempt.
    pub retry_after: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service(inner)))
    }
}

#[derive(Debug)]
struct Service(HttpClient);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_listing = is_listing(request.uri().query().unwrap_or_default());
        let response = self.0.execute(request).await?;
        // Requests for credentials are the library's own.
        if !is_listing || response.status().is_success() {
            return Ok(response);
        }
        let refusal = refusal(response).await;
        Err(HttpError::new(HttpErrorKind::Unknown, refusal))
    }
}

/// Of S3 and Google, or of Azure.
fn is_listing(query: &str) -> bool {
    query
        .split('&')
        .any(|it| matches!(it, "list-type=2" | "comp=list"))
}

async fn refusal(response: HttpResponse) -> Refusal {
    let (head, body) = response.into_parts();
    let seconds = head
        .headers
        .get(RETRY_AFTER)
        .and_then(|it| it.to_str().ok()?.parse().ok());
    let body = body.bytes().await.unwrap_or_default();
    Refusal {
        status: head.status.as_u16(),
        code: code(&String::from_utf8_lossy(&body)),
        retry_after: seconds.map(Duration::from_secs),
    }
}

/// The code of an error, which is a short word. The rest of its text may hold anything.
fn code(body: &str) -> String {
    let code = body
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or("", |(code, _)| code);
    let is_word = code.len() <= 64 && code.bytes().all(|it| it.is_ascii_alphanumeric());
    if is_word {
        code.to_owned()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_word() {
        let error =
            "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>x</Message></Error>";
        assert_eq!(code(error), "SlowDown");
        assert_eq!(code("<Code>a b</Code>"), "");
        assert_eq!(code("an error page"), "");
    }

    #[test]
    fn a_listing_is_known_by_its_query() {
        assert!(is_listing("list-type=2&prefix=a"));
        assert!(is_listing("restype=container&comp=list&prefix=a"));
        assert!(!is_listing("Action=AssumeRoleWithWebIdentity"));
        assert!(!is_listing("prefix=list-type=2x"));
    }
}
