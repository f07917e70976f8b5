//! Checks the registry, and the files by which crossmount decides about access.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::check_files;
use crate::check::findings::Findings;
use crate::config::{AccessConfig, AccessMode, AccessName, DistributionVersion, UpstreamConfig};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{ApiProbe, ApiProbeResult, UpstreamClient, UpstreamTls, version_mismatch};

/// How long the registry may take to respond.
const LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn check_access(access: &AccessConfig, findings: &mut Findings) {
    let what = match &access.mode {
        AccessMode::Token(_) => "the keys that tokens are signed with",
        AccessMode::Htpasswd(_) => "the password file",
        AccessMode::Upstream | AccessMode::None => return,
    };
    match check_files(access) {
        Ok(()) => findings.ok(format!("{what} can be read")),
        Err(error) => findings.error(error.to_string()),
    }
}

/// What the settings say about the registry.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ExpectedRegistry {
    /// Its access control.
    pub mode: Option<AccessName>,
    /// Its version, if it matters.
    pub version: Option<DistributionVersion>,
}

/// Checks that the registry responds, and as the settings say.
pub(crate) async fn check_upstream(
    upstream: &UpstreamConfig,
    expected: ExpectedRegistry,
    findings: &mut Findings,
) {
    let mode = expected.mode;
    let url = &upstream.url;
    let metrics = match Metrics::new(None) {
        Ok(metrics) => Arc::new(metrics),
        Err(error) => return findings.error(error.to_string()),
    };
    let tls = match UpstreamTls::load(upstream, &metrics) {
        Ok(tls) => Arc::new(tls),
        Err(error) => return findings.error(error.to_string()),
    };
    if upstream.client_certificate.is_some() {
        findings.ok("certificate and key for the registry fit each other");
    }
    let ask = UpstreamClient::new(upstream, tls, metrics);
    let ApiProbe { answer, version } = ask.probe_api(Instant::now() + LIMIT).await;
    let mismatch = expected
        .version
        .and_then(|expected| version_mismatch(expected, version));
    if let Some(mismatch) = mismatch {
        findings.warn(mismatch);
    }
    match (answer, mode) {
        (ApiProbeResult::Open, Some(AccessName::None)) => {
            findings.ok(format!("the registry at {url} answers and has no access control"));
        }
        (ApiProbeResult::Open, Some(AccessName::Token | AccessName::Htpasswd)) => findings.error(format!(
            "the registry at {url} asks for no credentials, but access.mode says that it has access control: \
             if it has none, set access.mode to none"
        )),
        (ApiProbeResult::Open, Some(AccessName::Upstream)) => findings.warn(format!(
            "the registry at {url} asks for no credentials: crossmount forwards mounts without them; \
             if the registry has no access control, set access.mode to none"
        )),
        (
            ApiProbeResult::Challenge,
            None | Some(AccessName::Upstream | AccessName::Token | AccessName::Htpasswd),
        ) => findings.ok(format!(
            "the registry at {url} answers and asks for credentials"
        )),
        (ApiProbeResult::Challenge, Some(AccessName::None)) => findings.error(format!(
            "access.mode is none, but the registry at {url} asks for credentials: set access.mode to upstream"
        )),
        (ApiProbeResult::Open, None) => {
            findings.ok(format!("the registry at {url} answers and asks for no credentials"));
        }
        (ApiProbeResult::Strange(status), _) => findings.error(format!(
            "the registry at {url} answers {status} at {}v2/: set upstream.url to the registry, and upstream.prefix to its http.prefix",
            upstream.prefix
        )),
        (ApiProbeResult::Unreachable(reason), _) => findings.error(format!(
            "the registry at {url} cannot be reached ({reason}): {}",
            advice(&reason)
        )),
    }
}

/// What the operator can do about a failed connection, by the message of the TLS library.
fn advice(reason: &str) -> &'static str {
    let speaks_of = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    // The alerts of Go's `crypto/tls` for a client without a certificate, or with an unknown one.
    if speaks_of(&["CertificateRequired", "BadCertificate", "UnknownCA"]) {
        return "it demands a client certificate (http.tls.clientcas): set upstream.client_certificate \
                and upstream.client_key to a pair that it accepts";
    }
    if speaks_of(&["CaUsedAsEndEntity"]) {
        return "its certificate is that of an authority: upstream.ca_certificate must hold exactly \
                this certificate, and its subjectAltName the host of upstream.url";
    }
    "start it, or correct upstream.url"
}
