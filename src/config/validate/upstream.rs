//! The registry behind.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::kind::DistributionVersion;
use crate::config::validate::single::{invalid, positive};
use crate::config::values::UpstreamUrl;
use crate::config::{ConfigError, Timeouts, TlsFiles, Upstream, schema};

/// Headers that crossmount or the HTTP layer sets itself in an answer.
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

pub(crate) fn validate(file: schema::Upstream) -> Result<Upstream, ConfigError> {
    let text = file.url.ok_or_else(|| {
        invalid(
            "upstream.url",
            "is missing: where does the registry listen?",
        )
    })?;
    let url = UpstreamUrl::parse(&text).map_err(|reason| invalid("upstream.url", reason))?;
    if file.ca_certificate.is_some() && !url.is_tls() {
        return Err(invalid(
            "upstream.ca_certificate",
            "is of use only with an https upstream",
        ));
    }
    if file.ca_certificate.as_deref() == Some("") {
        return Err(invalid("upstream.ca_certificate", "is empty"));
    }
    let client_certificate =
        client_certificate(file.client_certificate, file.client_key, url.is_tls())?;
    let timeouts = file.timeouts;
    let seconds = |setting, text, default| positive(setting, text, Duration::from_secs(default));
    Ok(Upstream {
        url,
        ca_certificate: file.ca_certificate.map(PathBuf::from),
        client_certificate,
        external_url: file.external_url.map(external_url).transpose()?,
        relative_urls: file.relative_urls.unwrap_or(false),
        prefix: prefix(file.prefix)?,
        response_headers: response_headers(file.response_headers)?,
        timeouts: Timeouts {
            connect: seconds("upstream.timeouts.connect", timeouts.connect.as_deref(), 5)?,
            read: seconds("upstream.timeouts.read", timeouts.read.as_deref(), 3600)?,
            write: seconds("upstream.timeouts.write", timeouts.write.as_deref(), 3600)?,
            idle: seconds("upstream.timeouts.idle", timeouts.idle.as_deref(), 30)?,
        },
        trusted_proxies: trusted_proxies(&file.trusted_proxies)?,
    })
}

/// Both files or none.
fn client_certificate(
    certificate: Option<String>,
    key: Option<String>,
    is_tls: bool,
) -> Result<Option<TlsFiles>, ConfigError> {
    let (certificate_setting, key_setting) = ("upstream.client_certificate", "upstream.client_key");
    let given = [(certificate_setting, &certificate), (key_setting, &key)];
    for (setting, path) in given {
        if path.is_some() && !is_tls {
            return Err(invalid(setting, "is of use only with an https upstream"));
        }
        if path.as_deref() == Some("") {
            return Err(invalid(setting, "is empty"));
        }
    }
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
        })),
        (Some(_), None) => Err(invalid(
            key_setting,
            "is missing: which is the key of upstream.client_certificate?",
        )),
        (None, Some(_)) => Err(invalid(
            certificate_setting,
            "is missing: whose key is upstream.client_key?",
        )),
    }
}

/// Whose rules count where distribution's differ.
pub(crate) fn version(number: Option<u8>) -> Result<DistributionVersion, ConfigError> {
    match number {
        None | Some(2) => Ok(DistributionVersion::Two),
        Some(3) => Ok(DistributionVersion::Three),
        Some(_) => Err(invalid("upstream.version", "must be 2 or 3")),
    }
}

fn external_url(text: String) -> Result<String, ConfigError> {
    let setting = "upstream.external_url";
    let uri: http::Uri = text
        .parse()
        .map_err(|_| invalid(setting, format!("{text:?} is not a URL")))?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_plain = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    if !is_web || !is_plain || text.contains(['?', '#']) {
        return Err(invalid(
            setting,
            format!("{text:?} is not a URL such as https://registry.example"),
        ));
    }
    Ok(text)
}

fn prefix(text: Option<String>) -> Result<String, ConfigError> {
    let Some(text) = text else {
        return Ok("/".to_owned());
    };
    let is_plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
    let is_framed = text.starts_with('/') && text.ends_with('/');
    if !is_framed || !text.bytes().all(is_plain) || text.contains("//") || text.contains("/.") {
        return Err(invalid(
            "upstream.prefix",
            format!(
                "{text:?} must be a plain path that starts and ends with a slash, such as /registry/"
            ),
        ));
    }
    Ok(text)
}

fn response_headers(
    headers: std::collections::BTreeMap<String, Vec<String>>,
) -> Result<Vec<(String, Vec<String>)>, ConfigError> {
    let setting = "upstream.response_headers";
    for (name, values) in &headers {
        let reserved = RESERVED_HEADERS.contains(&name.to_lowercase().as_str());
        if reserved || http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(invalid(setting, format!("{name:?} cannot be set")));
        }
        if let Some(value) = values
            .iter()
            .find(|value| http::HeaderValue::from_str(value).is_err())
        {
            return Err(invalid(setting, format!("{value:?} is no header value")));
        }
    }
    Ok(headers.into_iter().collect())
}

fn trusted_proxies(texts: &[String]) -> Result<Vec<IpNet>, ConfigError> {
    let networks = texts.iter().map(|text| {
        network(text).ok_or_else(|| {
            invalid(
                "upstream.trusted_proxies",
                format!("{text:?} is neither an address nor a network such as 10.0.0.0/8"),
            )
        })
    });
    networks.collect()
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
