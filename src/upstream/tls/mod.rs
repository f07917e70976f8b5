//! TLS to the registry: which of its certificates are trusted, and which one crossmount presents.
//!
//! `trust` has the first, with `pinned` for a registry whose own certificate is the trusted one.
//! `client_certificate` has the second, reloaded when its files change. Both kinds of connection
//! take both from here: Pingora's, and those of
//! [`UpstreamClient`](crate::upstream::UpstreamClient).

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
pub(crate) use client_certificate::{ClientCertificateError, check as check_client_certificate};
pub(crate) use trust::Trust;

use crate::config::{TlsFiles, UpstreamConfig};
use crate::telemetry::metrics::Metrics;
use crate::upstream::client;
use crate::util::file_watch::ReloadingFile;

/// The interval between two checks of the client certificate's files.
const EVERY: Duration = Duration::from_secs(1);
/// How long a check may take.
const LOOK: Duration = Duration::from_secs(30);

/// Why no TLS connection to the registry can be made.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamTlsError {
    /// The roots cannot be read.
    #[error("upstream.ca_certificate: {path}: {reason}")]
    Roots {
        path: String,
        /// The cause.
        reason: String,
    },
    /// The client certificate cannot be used.
    #[error(transparent)]
    ClientCertificate(#[from] ClientCertificateError),
    /// The HTTP client cannot be built.
    #[error(
        "cannot set up TLS to the registry: {0}; install the system's root certificates, or set upstream.ca_certificate"
    )]
    Client(String),
}

/// The TLS settings of every connection to the registry.
#[derive(Debug)]
pub(crate) struct UpstreamTls {
    trust: Trust,
    shown: ClientIdentity,
}

/// What crossmount presents to the registry.
#[derive(Debug)]
enum ClientIdentity {
    /// No certificate; the HTTP client is built once.
    Nothing(reqwest::Client),
    /// The current certificate of the files.
    Certificate(ReloadingFile<WithCertificate>),
}

/// A client certificate, and the HTTP client built with it.
#[derive(Debug)]
struct WithCertificate {
    certificate: ClientCertificate,
    client: reqwest::Client,
}

impl UpstreamTls {
    /// Loads the files that `upstream` names; `metrics` shows when the client certificate expires.
    /// Blocks.
    pub(crate) fn load(
        upstream: &UpstreamConfig,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, UpstreamTlsError> {
        let trust = Trust::load(upstream)?;
        let shown = match upstream.client_files() {
            None => ClientIdentity::Nothing(client::build(upstream, &trust, None)?),
            Some(files) => ClientIdentity::Certificate(watched(&files, upstream, &trust, metrics)?),
        };
        Ok(Self { trust, shown })
    }

    /// The HTTP client, with the current client certificate.
    pub(crate) fn client(&self) -> reqwest::Client {
        match &self.shown {
            ClientIdentity::Nothing(client) => client.clone(),
            ClientIdentity::Certificate(watched) => watched.current_value().value.client.clone(),
        }
    }

    /// Sets trust and client certificate of a new connection of Pingora's.
    pub(crate) fn apply(&self, peer: &mut HttpPeer) {
        if let ClientIdentity::Certificate(watched) = &self.shown {
            let current = watched.current_value().value;
            peer.client_cert_key = Some(current.certificate.for_pingora());
        }
        if self.trust.expects_itself() {
            // Pingora would refuse this certificate; `verify` decides before a byte is sent.
            peer.options.verify_cert = false;
        }
    }

    /// Verifies the certificate on a connection of Pingora's before anything is sent on it.
    ///
    /// Fails if the registry presents another certificate than the trusted one, or an expired one.
    /// The next connection is verified against the trusted authorities, and may be made at once.
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

    /// Records a failed connection: if no authority signed the registry's certificate, it may
    /// itself be the trusted one.
    pub(crate) fn failed(&self, peer: &HttpPeer, error: &Error) {
        let is_refused = matches!(
            error.etype(),
            ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert
        );
        if peer.options.verify_cert && is_refused {
            self.trust.expect_itself();
        }
    }

    /// Checks the client certificate's files periodically, for as long as the process lives.
    pub(crate) async fn reload_periodically(self: Arc<Self>) {
        let ClientIdentity::Certificate(watched) = &self.shown else {
            return;
        };
        loop {
            tokio::time::sleep(EVERY).await;
            // A check that hangs delays only the next.
            let _ = watched.current(Instant::now() + LOOK).await;
        }
    }
}

fn watched(
    files: &TlsFiles,
    upstream: &UpstreamConfig,
    trust: &Trust,
    metrics: &Arc<Metrics>,
) -> Result<ReloadingFile<WithCertificate>, UpstreamTlsError> {
    // Names the wrong one of the two files, which the parsing of both together cannot.
    check_client_certificate(files)?;
    let paths = vec![files.certificate.clone(), files.key.clone()];
    let (files, upstream, trust) = (files.clone(), upstream.clone(), trust.clone());
    let metrics = metrics.clone();
    let parse = move |pems: &[Vec<u8>]| -> Result<_, UpstreamTlsError> {
        let certificate = ClientCertificate::parse(&files, &pems[0], &pems[1])?;
        let client = client::build(&upstream, &trust, Some(&certificate))?;
        metrics.certificate_expiry("upstream_client", certificate.expires());
        Ok(WithCertificate {
            certificate,
            client,
        })
    };
    let parse = move |pems: &[Vec<u8>]| parse(pems).map_err(|error| error.to_string());
    ReloadingFile::load(paths, parse).map_err(|error| UpstreamTlsError::Client(error.to_string()))
}
