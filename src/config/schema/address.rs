//! Addresses to listen on and to connect to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::leaf::{parsed, shown};

/// An address to listen on. `:9500` means every address of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// The addresses to try, in order; the first that can be bound is taken.
    candidates: Vec<SocketAddr>,
    text: String,
}

impl ListenAddress {
    /// Parses `IP:PORT`, `[IP]:PORT`, `localhost:PORT` or `:PORT`.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not IP:PORT or :PORT, such as 0.0.0.0:5000");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let hosts: Vec<IpAddr> = match host {
            "" => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
            "localhost" => vec![Ipv4Addr::LOCALHOST.into()],
            _ => {
                let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
                let parsed = match bare {
                    Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::from),
                    None => host.parse::<Ipv4Addr>().map(IpAddr::from),
                };
                vec![parsed.map_err(|_| wrong())?]
            }
        };
        Ok(Self {
            candidates: hosts
                .into_iter()
                .map(|ip| SocketAddr::new(ip, port))
                .collect(),
            text: text.to_owned(),
        })
    }

    /// One address of IPv4.
    pub(super) fn v4(address: Ipv4Addr, port: u16) -> Self {
        let candidate = SocketAddr::new(address.into(), port);
        Self {
            candidates: vec![candidate],
            text: candidate.to_string(),
        }
    }

    /// The addresses to try, in order.
    #[must_use]
    pub fn candidates(&self) -> &[SocketAddr] {
        &self.candidates
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        parsed(value, Self::parse)
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        shown(self, out)
    }
}

/// The registry's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamUrl {
    /// `http://host:port` or `https://host:port`.
    Tcp {
        /// Whether TLS is spoken.
        tls: bool,
        /// A host name or an IP address without brackets.
        host: String,
        /// The port, 80 or 443 where the URL has none.
        port: u16,
    },
    /// `unix:/path`: plain HTTP over a socket file.
    Unix(PathBuf),
}

impl UpstreamUrl {
    /// Parses one of the three forms.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.strip_prefix("//").unwrap_or(path) {
                absolute if absolute.len() > 1 && absolute.starts_with('/') => {
                    Ok(Self::Unix(absolute.into()))
                }
                _ => Err(format!("{text:?} has no absolute path after unix:")),
            };
        }
        let uri: http::Uri = text
            .parse()
            .map_err(|_| "is not a URL such as http://127.0.0.1:5010".to_owned())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{text:?} is not http://, https:// or unix:/path")),
        };
        let authority = uri
            .authority()
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or_else(|| "must have a host and no user".to_owned())?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(format!(
                "{text:?} must have no path: put it into upstream.prefix"
            ));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port_text = &authority.as_str()[authority.host().len()..];
        let port = match (authority.port_u16(), port_text) {
            (Some(port), _) if port > 0 => port,
            (None, "") if tls => 443,
            (None, "") => 80,
            _ => return Err(format!("{text:?} has no valid port")),
        };
        if host.is_empty() {
            return Err(format!("{text:?} must have a host"));
        }
        Ok(Self::Tcp { tls, host, port })
    }

    /// Whether it is, beyond doubt, an address that is listened on here.
    #[must_use]
    pub fn is_at(&self, listen: &ListenAddress) -> bool {
        let Self::Tcp { host, port, .. } = self else {
            return false;
        };
        let host = if host == "localhost" {
            "127.0.0.1"
        } else {
            host
        };
        let Ok(host) = host.parse::<IpAddr>() else {
            return false;
        };
        let host = host.to_canonical();
        let mut candidates = listen.candidates().iter();
        candidates.any(|candidate| {
            let address = candidate.ip().to_canonical();
            let is_same = address == host;
            let is_any = address.is_unspecified() && host.is_loopback();
            *port != 0 && candidate.port() == *port && (is_same || is_any)
        })
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { tls, host, port } => {
                let scheme = if *tls { "https" } else { "http" };
                if host.contains(':') {
                    write!(f, "{scheme}://[{host}]:{port}")
                } else {
                    write!(f, "{scheme}://{host}:{port}")
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for UpstreamUrl {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        parsed(value, Self::parse)
    }
}

impl Serialize for UpstreamUrl {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        shown(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_host_means_all_of_both_families() {
        let all = ListenAddress::parse(":9500").unwrap();
        assert_eq!(
            all.candidates(),
            [
                "[::]:9500".parse().unwrap(),
                "0.0.0.0:9500".parse().unwrap()
            ]
        );
        let one = ListenAddress::parse("[::1]:5000").unwrap();
        assert_eq!(one.candidates(), ["[::1]:5000".parse().unwrap()]);
    }

    #[test]
    fn bad_addresses_are_refused() {
        for text in [
            "",
            "5000",
            "host:5000",
            "1.2.3.4",
            "1.2.3.4:",
            "::1:5000",
            "1.2.3.4:70000",
        ] {
            assert!(ListenAddress::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_three_forms_of_an_upstream_are_taken() {
        for (text, shown) in [
            ("http://127.0.0.1:5010", "http://127.0.0.1:5010"),
            ("http://registry/", "http://registry:80"),
            ("https://registry.example", "https://registry.example:443"),
            ("http://[::1]:5010", "http://[::1]:5010"),
            ("unix:/run/registry.sock", "unix:/run/registry.sock"),
            ("unix:///run/registry.sock", "unix:/run/registry.sock"),
        ] {
            assert_eq!(UpstreamUrl::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn other_upstreams_are_refused() {
        for text in [
            "",
            "127.0.0.1:5010",
            "ftp://host",
            "http://",
            "http://u:p@host",
            "http://host/v2/",
            "http://host?x=1",
            "http://host:0",
            "http://host:99999",
            "unix:",
            "unix:relative",
            "http://host:",
        ] {
            assert!(UpstreamUrl::parse(text).is_err(), "{text:?}");
        }
    }
}
