//! The HTTP client library, set up for crossmount's own requests.
//!
//! No redirect is followed, because a redirect must not see credentials, and no proxy of the
//! environment is used.

use std::path::Path;

use crate::config::{UpstreamConfig, UpstreamUrl};
use crate::upstream::tls::{ClientCertificate, Trust, UpstreamTlsError};

/// The User-Agent of crossmount's own requests.
pub const USER_AGENT: &str = concat!("crossmount/", env!("CARGO_PKG_VERSION"));

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
