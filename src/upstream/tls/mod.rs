//! TLS towards the registry: which certificates it may show, and which one crossmount shows.
//!
//! `trust` has the first, with `itself` for a registry whose own certificate is the trusted one;
//! `client_certificate` has the second, read again when its files change. Each way to the registry
//! takes both from here: Pingora's connections and the client for questions.

pub(crate) mod client_certificate;
mod pinned;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use tokio::time::Instant;

pub(crate) use client_certificate::ClientCertificate;
pub use client_certificate::{ClientCertificateError, check as check_client_certificate};
pub(crate) use trust::Trust;

use crate::config::{TlsFiles, Upstream};
use crate::telemetry::metrics::Metrics;
use crate::upstream::http_client;
use crate::util::file_watch::ReloadingFile;

/// Between two looks at the files of the client certificate.
const EVERY: Duration = Duration::from_secs(1);
/// How long a look may take.
const LOOK: Duration = Duration::from_secs(30);

/// Why no TLS connection to the registry can be made.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamTlsError {
    /// The roots cannot be read.
    #[error("upstream.ca_certificate: {path}: {reason}")]
    Roots {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client certificate cannot be used.
    #[error(transparent)]
    ClientCertificate(#[from] ClientCertificateError),
    /// The client for questions cannot be made.
    #[error("no client for the upstream: {0} (upstream.ca_certificate can name its roots)")]
    Client(String),
}

/// What every connection to the registry needs.
#[derive(Debug)]
pub struct UpstreamTls {
    trust: Trust,
    shown: ClientIdentity,
}

/// What crossmount shows to the registry.
#[derive(Debug)]
enum ClientIdentity {
    /// Nothing; this client asks questions.
    Nothing(reqwest::Client),
    /// A certificate, as it is in its files now.
    Certificate(ReloadingFile<WithCertificate>),
}

/// A client certificate, and what was made with it.
#[derive(Debug)]
struct WithCertificate {
    certificate: ClientCertificate,
    client: reqwest::Client,
}

impl UpstreamTls {
    /// Reads the files that `upstream` names; `metrics` shows when the client certificate expires.
    /// Blocks.
    pub fn load(upstream: &Upstream, metrics: &Arc<Metrics>) -> Result<Self, UpstreamTlsError> {
        let trust = Trust::load(upstream)?;
        let shown = match &upstream.client_certificate {
            None => ClientIdentity::Nothing(http_client::build(upstream, &trust, None)?),
            Some(files) => ClientIdentity::Certificate(watched(files, upstream, &trust, metrics)?),
        };
        Ok(Self { trust, shown })
    }

    /// The client for questions, with the client certificate that is in its files now.
    pub(crate) fn client(&self) -> reqwest::Client {
        match &self.shown {
            ClientIdentity::Nothing(client) => client.clone(),
            ClientIdentity::Certificate(watched) => watched.known().value.client.clone(),
        }
    }

    /// Gives a new connection of Pingora's what it shows, and whom it trusts.
    pub(crate) fn apply(&self, peer: &mut HttpPeer) {
        if let ClientIdentity::Certificate(watched) = &self.shown {
            let current = watched.known().value;
            peer.client_cert_key = Some(current.certificate.for_pingora());
        }
        if self.trust.expects_itself() {
            // Pingora would refuse this certificate; `verify` decides before a byte is sent.
            peer.options.verify_cert = false;
        }
    }

    /// Decides about a connection of Pingora's before anything is sent on it.
    ///
    /// The registry shows another certificate than the trusted one, or that has expired. The next
    /// connection is verified by the trusted authorities, and may be tried at once.
    pub(crate) fn verify(&self, peer: &HttpPeer, digest: Option<&Digest>) -> Result<()> {
        if peer.options.verify_cert {
            return Ok(());
        }
        let shown = digest.and_then(|digest| digest.ssl_digest.as_ref());
        let shown = shown.map_or(&[][..], |shown| &shown.cert_digest);
        self.trust.verify_itself(shown).map_err(|reason| {
            let mut error = Error::explain(ErrorType::InvalidCert, reason);
            error.set_retry(true);
            error.into_up()
        })
    }

    /// A connection did not come about: if no authority signed the registry's certificate, it may
    /// be the trusted one itself.
    pub(crate) fn failed(&self, peer: &HttpPeer, error: &Error) {
        let is_refused = matches!(
            error.etype(),
            ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert
        );
        if peer.options.verify_cert && is_refused {
            self.trust.expect_itself();
        }
    }

    /// Looks at the files of the client certificate again and again, for as long as the process
    /// lives.
    pub async fn reload_periodically(self: Arc<Self>) {
        let ClientIdentity::Certificate(watched) = &self.shown else {
            return;
        };
        loop {
            tokio::time::sleep(EVERY).await;
            // A look that hangs holds up only the next.
            let _ = watched.current(Instant::now() + LOOK).await;
        }
    }
}

fn watched(
    files: &TlsFiles,
    upstream: &Upstream,
    trust: &Trust,
    metrics: &Arc<Metrics>,
) -> Result<ReloadingFile<WithCertificate>, UpstreamTlsError> {
    // Says which of the files is wrong, which a look at both cannot.
    check_client_certificate(files)?;
    let paths = vec![files.certificate.clone(), files.key.clone()];
    let (files, upstream, trust) = (files.clone(), upstream.clone(), trust.clone());
    let metrics = metrics.clone();
    let parse = move |pems: &[Vec<u8>]| -> Result<_, UpstreamTlsError> {
        let certificate = ClientCertificate::parse(&files, &pems[0], &pems[1])?;
        let client = http_client::build(&upstream, &trust, Some(&certificate))?;
        metrics.certificate_expiry("upstream_client", certificate.expires());
        Ok(WithCertificate {
            certificate,
            client,
        })
    };
    let parse = move |pems: &[Vec<u8>]| parse(pems).map_err(|error| error.to_string());
    ReloadingFile::load(paths, parse).map_err(|error| UpstreamTlsError::Client(error.to_string()))
}
