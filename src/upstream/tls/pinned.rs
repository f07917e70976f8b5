//! A registry's own certificate that is itself the trusted one.
//!
//! `openssl req -x509` makes an authority that signed itself, and many registries present it as it
//! is. rustls-webpki refuses an authority as a server's certificate, whatever is trusted; Go
//! accepts a certificate that is among the roots. Here exactly that certificate is accepted. It
//! must be in `upstream.ca_certificate` byte for byte, name the registry's host, be valid now and
//! allow the use. The handshake proves that the registry has its key, as for any certificate.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Trusted authorities that the registry may present as its own certificate.
#[derive(Debug)]
pub(crate) struct PinnedCertificate {
    all: Vec<ExactVerifier>,
    /// Whether Pingora's next connection expects one of them, instead of a certificate signed by an
    /// authority.
    is_expected: AtomicBool,
}

/// One such certificate.
#[derive(Debug)]
struct ExactVerifier {
    der: CertificateDer<'static>,
    digest: Vec<u8>,
    /// In seconds since 1970.
    valid: RangeInclusive<i64>,
}

impl PinnedCertificate {
    /// Those of these certificates that name the host; `None` if there are none.
    pub(crate) fn among(certificates: &[CertificateDer<'static>], host: &str) -> Option<Self> {
        let host = ServerName::try_from(host).ok()?;
        let exactly = certificates.iter().filter_map(|der| exactly(der, &host));
        let all: Vec<_> = exactly.collect();
        let is_expected = AtomicBool::new(true);
        (!all.is_empty()).then_some(Self { all, is_expected })
    }

    /// Whether Pingora's next connection expects one of them.
    pub(crate) fn is_expected(&self) -> bool {
        self.is_expected.load(Ordering::Relaxed)
    }

    /// Makes Pingora's next connection expect one of them, or not.
    pub(crate) fn expect(&self, is_expected: bool) {
        self.is_expected.store(is_expected, Ordering::Relaxed);
    }

    /// Checks that a certificate with this SHA-256 is one of them, and valid now.
    pub(crate) fn verify_digest(&self, digest: &[u8]) -> Result<(), &'static str> {
        let found = self.all.iter().find(|exactly| exactly.digest == digest);
        let Some(exactly) = found else {
            return Err("the registry's certificate is not the one in upstream.ca_certificate");
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let is_valid = now.is_ok_and(|now| exactly.is_valid_at(now.as_secs()));
        is_valid
            .then_some(())
            .ok_or("the registry's certificate has expired, or is not valid yet")
    }
}

impl ExactVerifier {
    fn is_valid_at(&self, seconds: u64) -> bool {
        i64::try_from(seconds).is_ok_and(|seconds| self.valid.contains(&seconds))
    }
}

/// `None` for a certificate that does not name the host or may not be a server's. `None` too for
/// one that is no authority: rustls verifies that by itself.
fn exactly(der: &CertificateDer<'static>, host: &ServerName<'_>) -> Option<ExactVerifier> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let usage = parsed.extended_key_usage().ok()?;
    if !parsed.is_ca() || usage.is_some_and(|usage| !usage.value.server_auth) {
        return None;
    }
    let end_entity = EndEntityCert::try_from(der).ok()?;
    end_entity.verify_is_valid_for_subject_name(host).ok()?;
    let validity = parsed.validity();
    Some(ExactVerifier {
        der: der.clone(),
        digest: digest(&SHA256, der).as_ref().to_vec(),
        valid: validity.not_before.timestamp()..=validity.not_after.timestamp(),
    })
}

/// Accepts exactly these certificates, and others as rustls does. Pingora has no setting for it.
#[derive(Debug)]
pub(crate) struct PinnedVerifier {
    authorities: Arc<WebPkiServerVerifier>,
    itself: Arc<PinnedCertificate>,
}

impl PinnedVerifier {
    pub(crate) fn new(
        authorities: Arc<WebPkiServerVerifier>,
        itself: Arc<PinnedCertificate>,
    ) -> Self {
        Self {
            authorities,
            itself,
        }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut certificates = self.itself.all.iter();
        let Some(exactly) = certificates.find(|exactly| exactly.der == *end_entity) else {
            let authorities = &self.authorities;
            let verified = authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            )?;
            self.itself.expect(false);
            return Ok(verified);
        };
        if !exactly.is_valid_at(now.as_secs()) {
            return Err(CertificateError::Expired.into());
        }
        let parsed = EndEntityCert::try_from(end_entity);
        let parsed = parsed.map_err(|_| CertificateError::BadEncoding)?;
        let named = parsed.verify_is_valid_for_subject_name(server_name);
        named.map_err(|_| CertificateError::NotValidForName)?;
        self.itself.expect(true);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
