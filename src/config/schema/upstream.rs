//! The registry behind crossmount.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::{TlsFiles, UpstreamUrl};
use crate::config::leaf::{all_parsed, all_shown, is_plain_path, parsed, positive_span};
use crate::config::secret::Secret;

/// Headers that crossmount or the HTTP layer sets itself in a response.
const RESERVED_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "docker-content-digest",
    "docker-distribution-api-version",
    "location",
    "transfer-encoding",
];

/// The length of `::ffff:0:0/96`, which holds all IPv4 addresses.
const MAPPED_PREFIX: u8 = 96;

/// Values of headers by name. The operator sets both, and the values may be secret.
pub type ResponseHeaders = BTreeMap<String, Vec<Secret<String>>>;

/// The registry, and the settings of its own that a response shows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct UpstreamConfig {
    /// The address of the registry.
    pub url: UpstreamUrl,
    /// PEM file with the roots that sign an https upstream's certificate.
    pub ca_certificate: Option<PathBuf>,
    /// PEM file of the certificate that crossmount shows to an https upstream, if it shows one.
    pub client_certificate: Option<PathBuf>,
    /// PEM file of the key of that certificate.
    pub client_key: Option<PathBuf>,
    /// Like its `http.host`: scheme and authority of every Location, and a path.
    #[serde(default, deserialize_with = "external_url")]
    pub external_url: Option<String>,
    /// Like its `http.relativeurls`.
    #[serde(default)]
    pub relative_urls: bool,
    /// Like its `http.prefix`; starts and ends with `/`.
    #[serde(default = "no_prefix", deserialize_with = "prefix")]
    pub prefix: String,
    /// Like its `http.headers`.
    #[serde(default, deserialize_with = "response_headers")]
    pub response_headers: ResponseHeaders,
    /// Limits on waiting for it.
    #[serde(default)]
    pub timeouts: UpstreamTimeouts,
    /// Proxies whose forwarding headers are trusted; empty: all headers are forwarded as they came.
    #[serde(default, deserialize_with = "networks", serialize_with = "all_shown")]
    pub trusted_proxies: Vec<IpNet>,
}

impl UpstreamConfig {
    /// Certificate and key that crossmount shows to an https upstream, if it shows some.
    #[must_use]
    pub fn client_files(&self) -> Option<TlsFiles> {
        let (certificate, key) = (self.client_certificate.clone()?, self.client_key.clone()?);
        Some(TlsFiles { certificate, key })
    }
}

/// Limits on waiting for the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct UpstreamTimeouts {
    /// Until a connection is established, TLS included.
    #[serde(with = "positive_span")]
    pub connect: Duration,
    /// Between two reads; the registry hashes a large upload in silence.
    #[serde(with = "positive_span")]
    pub read: Duration,
    /// Between two writes; the registry's disk may be slow.
    #[serde(with = "positive_span")]
    pub write: Duration,
    /// How long an unused connection is kept.
    #[serde(with = "positive_span")]
    pub idle: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(3600),
            write: Duration::from_secs(3600),
            idle: Duration::from_secs(30),
        }
    }
}

/// distribution's major version: the rules of its versions differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "u32", into = "u8")]
pub enum DistributionVersion {
    /// 2.8
    #[default]
    Two,
    /// 3.x
    Three,
}

impl DistributionVersion {
    /// As `upstream.version` has it.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

impl TryFrom<u32> for DistributionVersion {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        match number {
            2 => Ok(Self::Two),
            3 => Ok(Self::Three),
            _ => Err("must be 2 or 3"),
        }
    }
}

impl From<DistributionVersion> for u8 {
    fn from(version: DistributionVersion) -> Self {
        version.number()
    }
}

fn external_url<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    let parse = |text: &str| {
        // The text may hold a password, so that it is not quoted.
        let wrong = || {
            "is not a URL such as https://registry.example, without user, query and fragment"
                .to_owned()
        };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority();
        let is_plain = authority.is_some_and(|authority| !authority.as_str().contains('@'));
        if !is_web || !is_plain || text.contains(['?', '#']) {
            return Err(wrong());
        }
        Ok(Some(text.to_owned()))
    };
    parsed(value, parse)
}

fn no_prefix() -> String {
    "/".to_owned()
}

fn prefix<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    let parse = |text: &str| {
        let is_prefix = is_plain_path(text) && text.ends_with('/');
        is_prefix.then(|| text.to_owned()).ok_or_else(|| {
            format!("{text:?} must be a path that starts and ends with a slash, such as /registry/")
        })
    };
    parsed(value, parse)
}

fn response_headers<'de, D: Deserializer<'de>>(value: D) -> Result<ResponseHeaders, D::Error> {
    let headers = ResponseHeaders::deserialize(value)?;
    for (name, values) in &headers {
        let is_reserved = RESERVED_HEADERS.contains(&name.to_lowercase().as_str());
        if is_reserved || HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(D::Error::custom(format!(
                "{name:?} cannot be set here: remove it"
            )));
        }
        let mut values = values.iter().map(Secret::expose);
        // The value may be secret, so that it is not quoted.
        if values.any(|value| HeaderValue::from_str(value).is_err()) {
            return Err(D::Error::custom(format!(
                "the value of {name} is not a valid header value"
            )));
        }
    }
    Ok(headers)
}

fn networks<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<IpNet>, D::Error> {
    all_parsed(value, |text| {
        network(text).ok_or_else(|| {
            format!("{text:?} is neither an address nor a network such as 10.0.0.0/8")
        })
    })
}

/// An address or a network. One of IPv4-mapped addresses (RFC 4291, 2.5.5.2) is the IPv4 network,
/// because the peers' addresses are IPv4 there too. A wider one, such as `::/0`, is IPv6 alone.
fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| address()).ok()?;
    let mapped = match network.addr() {
        IpAddr::V6(address) => address.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    let length = network.prefix_len().checked_sub(MAPPED_PREFIX);
    match (mapped, length) {
        (Some(address), Some(length)) => IpNet::new(address.into(), length).ok(),
        _ => Some(network),
    }
}
