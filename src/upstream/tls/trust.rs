//! Which certificates of the registry are trusted.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{UpstreamConfig, UpstreamUrl};
use crate::upstream::tls::UpstreamTlsError;
use crate::upstream::tls::client_certificate::ClientCertificate;
use crate::upstream::tls::pinned::{PinnedCertificate, PinnedVerifier};

/// The roots of `upstream.ca_certificate`; without it the system's roots are trusted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    roots: Option<Arc<RootCertStore>>,
    itself: Option<Arc<PinnedCertificate>>,
}

impl Trust {
    pub(crate) fn load(upstream: &UpstreamConfig) -> Result<Self, UpstreamTlsError> {
        let Some(path) = &upstream.ca_certificate else {
            return Ok(Self::default());
        };
        let wrong = |reason: String| UpstreamTlsError::Roots {
            path: path.display().to_string(),
            reason,
        };
        let pem = std::fs::read(path).map_err(|cause| wrong(cause.to_string()))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.map_err(|cause| wrong(cause.to_string()))?;
        if certificates.is_empty() {
            return Err(wrong("holds no certificate".to_owned()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let added = roots.add(certificate.clone());
            added.map_err(|cause| wrong(cause.to_string()))?;
        }
        let itself = match &upstream.url {
            UpstreamUrl::Tcp { host, .. } => PinnedCertificate::among(&certificates, host),
            UpstreamUrl::Unix(_) => None,
        };
        Ok(Self {
            roots: Some(Arc::new(roots)),
            itself: itself.map(Arc::new),
        })
    }

    /// A verifier for rustls; `None` if the system's roots are trusted.
    pub(crate) fn for_rustls(
        &self,
        shown: Option<&ClientCertificate>,
    ) -> Result<Option<ClientConfig>, UpstreamTlsError> {
        let wrong = |cause: String| UpstreamTlsError::Client(cause);
        let Some(roots) = &self.roots else {
            return Ok(None);
        };
        let verifier = WebPkiServerVerifier::builder(roots.clone()).build();
        let verifier = verifier.map_err(|cause| wrong(cause.to_string()))?;
        let verifier: Arc<dyn ServerCertVerifier> = match &self.itself {
            None => verifier,
            Some(itself) => Arc::new(PinnedVerifier::new(verifier, itself.clone())),
        };
        let builder = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let (chain, key) = certificate.for_rustls();
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|cause| wrong(cause.to_string()))?
            }
        };
        Ok(Some(config))
    }

    /// Whether Pingora's next connection expects the trusted certificate itself.
    pub(crate) fn expects_itself(&self) -> bool {
        self.itself
            .as_ref()
            .is_some_and(|itself| itself.is_expected())
    }

    /// Makes Pingora's next connection expect it, if it can be trusted itself.
    pub(crate) fn expect_itself(&self) {
        if let Some(itself) = &self.itself {
            itself.expect(true);
        }
    }

    /// Checks that a certificate with this SHA-256 is the trusted one, and valid now. If not, the
    /// next connection expects one signed by an authority.
    pub(crate) fn verify_itself(&self, digest: &[u8]) -> Result<(), &'static str> {
        let Some(itself) = &self.itself else {
            return Err("no certificate is trusted by itself");
        };
        itself
            .verify_digest(digest)
            .inspect_err(|_| itself.expect(false))
    }
}
