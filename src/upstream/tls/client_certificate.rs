//! The certificate that crossmount presents to a registry which demands one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pingora::utils::tls::CertKey;
use rustls::InconsistentKeys;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::config::TlsFiles;

/// Why a client certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("upstream.{setting}: {}: {reason}", .path.display())]
pub struct ClientCertificateError {
    setting: &'static str,
    path: PathBuf,
    reason: String,
}

/// A certificate chain and its key, checked to belong together.
pub(crate) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    for_pingora: Arc<CertKey>,
    expires: i64,
}

/// Whether certificate and key can be used. Blocks.
pub(crate) fn check(files: &TlsFiles) -> Result<(), ClientCertificateError> {
    let read = |path: &Path, setting| {
        std::fs::read(path)
            .map_err(|cause| error(setting, path, format!("cannot be read: {cause}")))
    };
    let certificate = read(&files.certificate, "client_certificate")?;
    let key = read(&files.key, "client_key")?;
    ClientCertificate::parse(files, &certificate, &key).map(drop)
}

impl ClientCertificate {
    /// Parses the content of the two files.
    pub(crate) fn parse(
        files: &TlsFiles,
        certificate: &[u8],
        key: &[u8],
    ) -> Result<Self, ClientCertificateError> {
        let of_certificate =
            |reason: String| error("client_certificate", &files.certificate, reason);
        let of_key = |reason: String| error("client_key", &files.key, reason);
        let (chain, expires) = parse_chain(certificate).map_err(of_certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|cause| of_key(format!("holds no private key in PEM: {cause}")))?;
        let pair = CertifiedKey::from_der(chain.clone(), key.clone_key(), &default_provider());
        pair.map_err(|cause| {
            of_key(match cause {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    let certificate = files.certificate.display();
                    format!("is not the key of upstream.client_certificate, {certificate}")
                }
                cause => cause.to_string(),
            })
        })?;
        // Pingora derives the key's form from its bytes, and would end the process.
        if PrivateKeyDer::try_from(key.secret_der()).is_err() {
            return Err(of_key(
                "holds a private key of an unknown form: use PKCS#8, PKCS#1 or SEC1".to_owned(),
            ));
        }
        let certificates = chain.iter().map(|der| der.to_vec()).collect();
        let for_pingora = CertKey::new(certificates, key.secret_der().to_vec());
        Ok(Self {
            chain,
            key,
            for_pingora: Arc::new(for_pingora),
            expires,
        })
    }

    /// In Pingora's form.
    pub(crate) fn for_pingora(&self) -> Arc<CertKey> {
        self.for_pingora.clone()
    }

    /// In the form of rustls: the chain, leaf first, and the leaf's key.
    pub(crate) fn for_rustls(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), self.key.clone_key())
    }

    /// In the form of reqwest: both in one PEM, and nothing else.
    pub(crate) fn pem(&self) -> Zeroizing<String> {
        let label = match &self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        let section = |label: &str, der: &[u8]| {
            let body = STANDARD.encode(der);
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        let mut pem = Zeroizing::new(section(label, self.key.secret_der()));
        for certificate in &self.chain {
            pem.push_str(&section("CERTIFICATE", certificate));
        }
        pem
    }

    /// When it expires, in seconds since 1970.
    pub(crate) fn expires(&self) -> i64 {
        self.expires
    }
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a client certificate and its key")
    }
}

/// The certificates of a file, leaf first, and when the leaf expires.
fn parse_chain(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, i64), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|cause| format!("is not PEM: {cause}"))?;
    let mut expires = None;
    for der in &chain {
        let (_, parsed) = X509Certificate::from_der(der)
            .map_err(|cause| format!("holds no valid certificate: {cause}"))?;
        expires.get_or_insert(parsed.validity().not_after.timestamp());
    }
    let expires = expires.ok_or_else(|| "holds no certificate".to_owned())?;
    Ok((chain, expires))
}

fn error(setting: &'static str, path: &Path, reason: String) -> ClientCertificateError {
    ClientCertificateError {
        setting,
        path: path.to_owned(),
        reason,
    }
}
