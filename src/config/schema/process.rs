//! The process itself: its ports, its end and its log.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::Level;

use super::ListenAddress;
use crate::config::leaf::{Word, positive_span, span, word};

/// The registry's port for clients.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ListenConfig {
    /// Where clients connect.
    pub address: ListenAddress,
    /// How long a client may take for the head of a request.
    #[serde(with = "positive_span")]
    pub header_timeout: Duration,
    /// Whether HTTP/2 is offered in the TLS handshake (ALPN).
    pub http2: bool,
    /// Whether HTTP/2 without TLS is accepted, if the client begins with it.
    pub h2c: bool,
    /// Certificate and key, if crossmount terminates TLS.
    pub tls: Option<TlsFiles>,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            address: ListenAddress::v4(Ipv4Addr::UNSPECIFIED, 5000),
            header_timeout: Duration::from_secs(60),
            http2: false,
            h2c: false,
            tls: None,
        }
    }
}

impl ListenConfig {
    /// Whether and how clients may speak HTTP/2.
    #[must_use]
    pub fn http2(&self) -> Http2 {
        match (self.http2, self.h2c) {
            (true, _) => Http2::OverTls,
            (false, true) => Http2::PriorKnowledge,
            (false, false) => Http2::Off,
        }
    }
}

/// Whether and how clients may speak HTTP/2, beside HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2 {
    /// Not at all.
    Off,
    /// With TLS, if both sides agree on it (ALPN), as in the registry's own listener.
    OverTls,
    /// Without TLS, if the client begins with HTTP/2: the registry's `http.h2c`.
    PriorKnowledge,
}

/// PEM files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// Metrics and health.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct AdminConfig {
    /// The address of the page, metrics and health.
    pub address: ListenAddress,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            address: ListenAddress::v4(Ipv4Addr::LOCALHOST, 9500),
        }
    }
}

/// How the process ends after a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ShutdownConfig {
    /// How long requests are still accepted after readiness has ended.
    #[serde(with = "span")]
    pub drain_delay: Duration,
    /// When the process ends at the latest, counted from the signal.
    #[serde(with = "span")]
    pub timeout: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            drain_delay: Duration::from_secs(5),
            timeout: Duration::from_secs(25),
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct LogConfig {
    /// The least severe lines that are written.
    #[serde(with = "word")]
    pub level: Level,
    /// The form of the lines.
    #[serde(with = "word")]
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: Level::INFO,
            format: LogFormat::Json,
        }
    }
}

impl Word for Level {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::ERROR),
        ("warn", Self::WARN),
        ("info", Self::INFO),
        ("debug", Self::DEBUG),
        ("trace", Self::TRACE),
    ];
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Plain text, easier to read in a terminal.
    Text,
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("json", Self::Json), ("text", Self::Text)];
}
