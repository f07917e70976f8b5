//! Configuration: file, environment and flags become one valid [`Config`] or one clear error.
//!
//! `schema` is the file's shape, `environment` lays variables and flags over it,
//! `values` holds the types of single settings, and `validate` turns the result
//! into [`Config`], which cannot hold a contradiction; `kind` has the part of it that
//! differs between registries; `effective` writes it down again, for people to read. No port is
//! bound and no folder opened here.

pub(crate) mod effective;
mod environment;
mod kind;
mod schema;
mod validate;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderMap;

pub use effective::effective;
pub(crate) use effective::without_login;
pub use environment::Overrides;
pub use kind::{
    Access, AccessMode, Artifacts, Discovery, Distribution, DistributionVersion, Durability,
    Generic, Kind, Mount, Pulp, SourceDenied, Sources, Store, TokenRules, Verify,
};
pub use values::{ListenAddress, UpstreamUrl};

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The registry's port for clients.
    pub listen: ListenAddress,
    /// How long a client may take for the head of a request.
    pub header_timeout: Duration,
    /// Whether clients may speak HTTP/2.
    pub http2: Http2,
    /// Certificate and key where TLS ends at crossmount.
    pub tls: Option<TlsFiles>,
    /// Metrics and health.
    pub admin: ListenAddress,
    /// The registry behind.
    pub upstream: Upstream,
    /// What kind of registry it is, and so how its mounts are answered.
    pub kind: Kind,
    /// Where the registry hands out tokens itself, if something is done about that.
    pub token_endpoint: Option<TokenEndpoint>,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// What is logged, and how.
    pub log: Log,
    /// Findings that do not keep the process from starting; each is logged once.
    pub warnings: Vec<String>,
}

/// Whether and how clients may speak HTTP/2, beside HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2 {
    /// Not at all.
    Off,
    /// Where TLS agrees on it (ALPN), as in the registry's own listener.
    OverTls,
    /// Without TLS, where the client begins with HTTP/2: the registry's `http.h2c`.
    PriorKnowledge,
}

/// PEM files of a certificate and its key.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// The registry behind and how it is told to speak.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Where it listens.
    pub url: UpstreamUrl,
    /// PEM file with the roots that sign an https upstream's certificate.
    pub ca_certificate: Option<PathBuf>,
    /// Certificate and key that crossmount shows to an https upstream, if there are some.
    pub client_certificate: Option<TlsFiles>,
    /// Like its `http.host`: scheme and authority of every Location, and a path.
    pub external_url: Option<String>,
    /// Like its `http.relativeurls`.
    pub relative_urls: bool,
    /// Like its `http.prefix`; starts and ends with `/`.
    pub prefix: String,
    /// Like its `http.headers`, in the file's order.
    pub response_headers: Vec<(String, Vec<String>)>,
    /// Limits on waiting for it.
    pub timeouts: Timeouts,
    /// Whose forwarding headers are believed; empty: they pass as they came.
    pub trusted_proxies: Vec<ipnet::IpNet>,
}

/// Limits on waiting for the upstream.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// Between two reads; the registry hashes a large upload in silence.
    pub read: Duration,
    /// Between two writes; the registry's disk may be slow.
    pub write: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
}

/// The registry's own token endpoint.
#[derive(Debug, Clone)]
pub struct TokenEndpoint {
    /// Its path.
    pub path: String,
    /// For how long at most its answers are remembered, if they are.
    pub remembered_for: Option<Duration>,
    /// Ask for pull on likely sources in a client's own request for a token.
    pub widens_scopes: bool,
}

/// Who is told of mounts.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// What it is called in the log and the metrics.
    pub name: String,
    /// Where events are sent.
    pub url: String,
    /// Sent with them; they may be secret.
    pub headers: HeaderMap,
    /// How long it may take for one.
    pub timeout: Duration,
    /// So many attempts may fail before it is left alone for a while.
    pub threshold: u32,
    /// For how long.
    pub backoff: Duration,
    /// Events about these media types are not sent to it.
    pub ignored_media_types: Vec<String>,
    /// Events of these actions are not sent to it.
    pub ignored_actions: Vec<String>,
}

/// How the process ends after a signal.
#[derive(Debug, Clone, Copy)]
pub struct Shutdown {
    /// How long it goes on serving while it is already not ready.
    pub drain_delay: Duration,
    /// The end of everything, counted from the signal.
    pub timeout: Duration,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// The least severe lines that are written.
    pub level: tracing::Level,
    /// Their form.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is not YAML of the right shape; the text names key and line.
    #[error("{path}: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said, with the line.
        cause: String,
    },
    /// A variable's value does not fit its setting.
    #[error("{variable}: {cause}")]
    Environment {
        /// The variable's name.
        variable: String,
        /// What does not fit.
        cause: String,
    },
    /// A setting's value cannot be used.
    #[error("{setting}: {reason}")]
    Invalid {
        /// The setting's path, joined by dots.
        setting: &'static str,
        /// What is wrong with it and what would be right.
        reason: String,
    },
}

impl Config {
    /// Reads the file if there is one, lays environment and flags over it, and validates the whole.
    ///
    /// # Errors
    /// [`ConfigError`], whose text is one line that names the setting.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: Overrides,
    ) -> Result<Self, ConfigError> {
        let text = match file {
            None => String::new(),
            Some(path) => {
                std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
                    path: path.to_owned(),
                    cause,
                })?
            }
        };
        Self::parse(&text, file, environment, flags)
    }

    /// Whether clients speak plain HTTP to a registry that speaks TLS, so that each has another
    /// scheme for its URLs, and no setting says which one its Locations have.
    #[must_use]
    pub fn is_plain_before_tls(&self) -> bool {
        let upstream = &self.upstream;
        let is_said = upstream.external_url.is_some() || upstream.relative_urls;
        self.tls.is_none() && upstream.url.is_tls() && !is_said
    }

    /// As [`Config::load`], with the file's text.
    pub(crate) fn parse(
        text: &str,
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: Overrides,
    ) -> Result<Self, ConfigError> {
        let malformed = |cause| ConfigError::Malformed {
            path: file.unwrap_or(Path::new("configuration")).to_owned(),
            cause: with_line(&cause),
        };
        let (file, warnings) = environment::overlay(text, environment, flags, malformed)?;
        validate::validate(file, warnings)
    }
}

/// The parser quotes a value of the wrong type, which may be a secret: a header written without
/// its brackets is the most common mistake.
fn without_values(text: &str) -> String {
    let mut parts = text.split("string \"");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut is_escaped = false;
        let end = part.find(|letter| {
            let is_end = letter == '"' && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            is_end
        });
        shown += "a text";
        shown += end.map_or("", |end| &part[end + 1..]);
    }
    shown
}

/// The text with control characters escaped: a key or a value may hold a line break.
pub(crate) fn on_one_line(text: &str) -> String {
    let mut line = String::new();
    for letter in text.chars() {
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

/// The parser leaves the place out where it is the very beginning of the file.
fn with_line(error: &serde_yaml::Error) -> String {
    let text = on_one_line(&without_values(&error.to_string()));
    if text.contains("unknown field") && !text.contains(" at line ") {
        return format!("{text} at line 1");
    }
    text
}

#[cfg(test)]
mod tests;
