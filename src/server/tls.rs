//! TLS of the listener. Certificate and key are reloaded when their files change: open connections
//! stay as they are, and new ones get the new certificate.
//!
//! Plain HTTP on this port gets an error as from Go's server (`net/http`,
//! `tlsRecordHeaderLooksLikeHTTP`), instead of a closed connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pingora::listeners::tls::Acceptor;
use pingora::protocols::IO;
use pingora::protocols::tls::TlsStream;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{Http2, TlsFiles};
use crate::telemetry::metrics::Metrics;
use crate::util::file_watch::ReloadingFile;

/// The interval between two checks of the files.
const EVERY: Duration = Duration::from_secs(1);
/// How long a check may take.
const LOOK: Duration = Duration::from_secs(30);

/// Why TLS cannot be terminated with the configured files.
#[derive(Debug, thiserror::Error)]
#[error("listen.tls.{setting}: {path}: {reason}")]
pub struct TlsError {
    setting: &'static str,
    path: PathBuf,
    reason: String,
}

/// Terminates TLS with the current certificate.
#[derive(Debug)]
pub(crate) struct ListenerTls(ReloadingFile<ServedCertificate>);

/// The parsed files.
pub(crate) struct ServedCertificate {
    acceptor: Acceptor,
    /// When the certificate expires, in seconds since 1970.
    ends: i64,
}

impl ListenerTls {
    /// Loads certificate and key, and again when they change. Blocks.
    ///
    /// With `http2` clients may negotiate HTTP/2; `metrics` shows when the certificate expires.
    pub(crate) fn load(
        files: &TlsFiles,
        http2: Http2,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TlsError> {
        check(files)?;
        let paths = vec![files.certificate.clone(), files.key.clone()];
        let again = files.clone();
        let served = move |pems: &[Vec<u8>]| {
            let served =
                parse(&again, http2, &pems[0], &pems[1]).map_err(|fault| fault.to_string())?;
            metrics.certificate_expiry("listener", served.ends);
            Ok(served)
        };
        ReloadingFile::load(paths, served)
            .map(Self)
            .map_err(|error| TlsError {
                setting: "certificate",
                path: files.certificate.clone(),
                reason: error.to_string(),
            })
    }

    /// Checks the files periodically, for as long as the process lives.
    pub(crate) async fn reload_periodically(self: Arc<Self>) {
        loop {
            tokio::time::sleep(EVERY).await;
            // A check that hangs delays only the next.
            let _ = self.0.current(Instant::now() + LOOK).await;
        }
    }

    /// Does the TLS handshake, within a time.
    pub(crate) async fn handshake<S>(&self, stream: S, within: Duration) -> Option<TlsStream<S>>
    where
        S: IO + 'static,
    {
        // A new connection never waits for a file.
        let served = self.0.current_value().value;
        match tokio::time::timeout(within, served.acceptor.tls_handshake(stream)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "tls handshake failed");
                None
            }
            Err(_) => None,
        }
    }
}

impl std::fmt::Debug for ServedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a certificate and its key")
    }
}

/// Whether certificate and key can be used. Blocks.
pub(crate) fn check(files: &TlsFiles) -> Result<(), TlsError> {
    let read = |path: &Path, setting| {
        std::fs::read(path)
            .map_err(|error| tls_error(setting, path, format!("cannot be read: {error}")))
    };
    let certificate = read(&files.certificate, "certificate")?;
    let key = read(&files.key, "key")?;
    parse(files, Http2::Off, &certificate, &key).map(drop)
}

fn parse(
    files: &TlsFiles,
    http2: Http2,
    certificate: &[u8],
    key: &[u8],
) -> Result<ServedCertificate, TlsError> {
    let of_certificate = |reason: String| tls_error("certificate", &files.certificate, reason);
    let of_key = |reason: String| tls_error("key", &files.key, reason);
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| of_certificate(format!("is not PEM: {error}")))?;
    let leaf = chain
        .first()
        .ok_or_else(|| of_certificate("holds no certificate".to_owned()))?;
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|error| of_certificate(format!("holds no valid certificate: {error}")))?;
    let ends = parsed.validity().not_after.timestamp();
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| of_key(format!("holds no private key in PEM: {error}")))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| of_key(format!("does not fit listen.tls.certificate: {error}")))?;
    if http2 == Http2::OverTls {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(ServedCertificate {
        acceptor: Acceptor::from_server_config(Arc::new(config)),
        ends,
    })
}

fn tls_error(setting: &'static str, path: &Path, reason: String) -> TlsError {
    TlsError {
        setting,
        path: path.to_owned(),
        reason,
    }
}

/// The response of Go's server, word for word.
const ANSWER: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// How long the client may take to read the response. Its request is read meanwhile.
const TIME_LIMIT: Duration = Duration::from_secs(2);
const BYTES_LIMIT: u64 = 1 << 20;

/// Whether a connection begins with an HTTP method. Waits for its first byte.
pub(crate) async fn is_plain_http(connection: &TcpStream, within: Duration) -> bool {
    let mut first = [0];
    let peeked = timeout(within, connection.peek(&mut first)).await;
    // A TLS record begins with its type, a number below 32 (RFC 8446, 5.1).
    matches!(peeked, Ok(Ok(1))) && first[0].is_ascii_uppercase()
}

/// Responds, and reads until the client disconnects. A connection that is closed with bytes unread
/// is reset, and the client may lose the response.
pub(crate) async fn refuse_plain_http(mut connection: TcpStream) {
    let refused = async {
        connection.write_all(ANSWER).await?;
        connection.shutdown().await?;
        let mut rest = connection.take(BYTES_LIMIT);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = timeout(TIME_LIMIT, refused).await {
        tracing::debug!(%error, "plain http client disconnected");
    }
}
