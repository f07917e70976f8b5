//! Certificate and key of the listener.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pingora::listeners::tls::Acceptor;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::TlsFiles;

/// Why TLS cannot be ended with the given files.
#[derive(Debug, thiserror::Error)]
#[error("listen.tls.{setting}: {path}: {reason}")]
pub struct TlsFault {
    setting: &'static str,
    path: PathBuf,
    reason: String,
}

/// Reads certificate and key. Returns what ends TLS with them, and when the certificate ends,
/// in seconds since 1970.
///
/// # Errors
/// [`TlsFault`] names the file and what is wrong with it.
pub fn load(files: &TlsFiles) -> Result<(Arc<Acceptor>, i64), TlsFault> {
    let chain = read(&files.certificate, "certificate", |pem| {
        CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()
    })?;
    let of_certificate = |reason: String| fault("certificate", &files.certificate, reason);
    let leaf = chain
        .first()
        .ok_or_else(|| of_certificate("holds no certificate".to_owned()))?;
    let (_, parsed) =
        X509Certificate::from_der(leaf).map_err(|error| of_certificate(error.to_string()))?;
    let ends = parsed.validity().not_after.timestamp();
    let key = read(&files.key, "key", PrivateKeyDer::from_pem_slice)?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| fault("key", &files.key, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((
        Arc::new(Acceptor::from_server_config(Arc::new(config))),
        ends,
    ))
}

fn read<T, E: std::fmt::Display>(
    path: &Path,
    setting: &'static str,
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<T, TlsFault> {
    let pem = std::fs::read(path).map_err(|error| fault(setting, path, error.to_string()))?;
    parse(&pem).map_err(|error| fault(setting, path, error.to_string()))
}

fn fault(setting: &'static str, path: &Path, reason: String) -> TlsFault {
    TlsFault {
        setting,
        path: path.to_owned(),
        reason,
    }
}
