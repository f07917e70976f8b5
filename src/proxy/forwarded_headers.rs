//! The forwarding headers that the registry gets.
//!
//! The peer's address is appended to X-Forwarded-For. Other forwarding headers pass as they came,
//! unless `trusted_proxies` is set; then those of untrusted peers are dropped. If no header names
//! the scheme and the registry would assume a wrong one, the client's scheme is inserted. What the
//! registry assumes is the scheme of its own connection.

pub(crate) mod rfc7239;

use std::net::IpAddr;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora::http::RequestHeader;
use strum::IntoStaticStr;

use crate::config::{Config, ListenConfig};
use crate::proxy::location::is_scheme;

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Headers that an untrusted peer may not set.
const UNTRUSTED: &[&str] = &[
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-real-ip",
];

/// Drops, appends and inserts forwarding headers.
#[derive(Debug)]
pub(crate) struct ForwardedHeaders {
    trusted: Vec<IpNet>,
    scheme: Option<ClientScheme>,
}

/// The scheme by which clients reach this process, if the registry must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
enum ClientScheme {
    /// Plain HTTP in front of a registry with TLS.
    Http,
    /// crossmount terminates TLS.
    Https,
}

impl ForwardedHeaders {
    /// With no trusted proxies listed every peer is trusted, as the registry does.
    pub(crate) fn new(config: &Config) -> Self {
        let scheme = match config {
            Config {
                listen: ListenConfig { tls: Some(_), .. },
                ..
            } => Some(ClientScheme::Https),
            config if config.is_plain_before_tls() => Some(ClientScheme::Http),
            _ => None,
        };
        Self {
            trusted: config.upstream.trusted_proxies.clone(),
            scheme,
        }
    }

    /// Changes a request's head to what the registry shall get.
    pub(crate) fn apply(&self, peer: Option<IpAddr>, head: &mut RequestHeader) {
        if !self.is_trusted(peer) {
            for name in UNTRUSTED {
                head.remove_header(*name);
            }
        }
        if let Some(peer) = peer {
            append_peer(peer, head);
        }
        if let Some(scheme) = self.scheme {
            scheme.fill_in(head);
        }
    }

    fn is_trusted(&self, peer: Option<IpAddr>) -> bool {
        let is_trusted = |peer: IpAddr| self.trusted.iter().any(|net| net.contains(&peer));
        self.trusted.is_empty() || peer.is_some_and(is_trusted)
    }
}

impl ClientScheme {
    /// Inserts the scheme if no header names one. Distribution reads only the first line of a
    /// header, and no X-Forwarded-Proto beside a `Forwarded` (`registry/api/v2/urls.go`).
    fn fill_in(self, head: &mut RequestHeader) {
        let said = first(head, &PROTO);
        let forwarded = first(head, &FORWARDED);
        if !forwarded.is_empty() {
            let Some(filled) = rfc7239::with_proto(&forwarded, self.beside(&said)) else {
                return;
            };
            replace_first(head, &filled);
        }
        if said.is_empty() {
            set(head, "X-Forwarded-Proto", self.into());
        }
    }

    /// The scheme for a `Forwarded` without one. If crossmount terminates TLS, a registry with TLS
    /// assumes the same. A plain port may have a proxy with TLS in front that set another header.
    fn beside(self, x_forwarded_proto: &str) -> &str {
        let said = x_forwarded_proto.split(',').next().unwrap_or_default();
        match (self, said.trim()) {
            (Self::Http, said) if is_scheme(said) => said,
            _ => self.into(),
        }
    }
}

/// The first line of a header; empty if there is none.
fn first(head: &RequestHeader, name: &HeaderName) -> String {
    let value = head
        .headers
        .get(name)
        .map_or(&b""[..], HeaderValue::as_bytes);
    String::from_utf8_lossy(value).trim().to_owned()
}

/// Replaces the first line of `Forwarded`.
fn replace_first(head: &mut RequestHeader, text: &str) {
    let lines = head.headers.get_all(FORWARDED).iter();
    let others: Vec<HeaderValue> = lines.skip(1).cloned().collect();
    set(head, "Forwarded", text);
    for value in others {
        if let Err(error) = head.append_header("Forwarded", value) {
            tracing::debug!(%error, header = "Forwarded", "forwarding header not set");
        }
    }
}

fn append_peer(peer: IpAddr, head: &mut RequestHeader) {
    let mut all: Vec<String> = head
        .headers
        .get_all(FOR)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    all.push(peer.to_string());
    set(head, "X-Forwarded-For", &all.join(", "));
}

fn set(head: &mut RequestHeader, name: &'static str, value: &str) {
    // Only a value with control characters is refused, and such a head was rejected before.
    if let Err(error) = head.insert_header(name, value) {
        tracing::debug!(%error, header = name, "forwarding header not set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(
        trusted: &[&str],
        scheme: Option<ClientScheme>,
        headers: &[(&'static str, &str)],
    ) -> RequestHeader {
        let trusted = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let mut head = RequestHeader::build("GET", b"/v2/", None).unwrap();
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        let peer = Some("10.0.0.7".parse().unwrap());
        ForwardedHeaders { trusted, scheme }.apply(peer, &mut head);
        head
    }

    fn value<'a>(head: &'a RequestHeader, name: &str) -> Option<&'a str> {
        head.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn the_peer_is_appended_and_everything_else_stays() {
        let head = applied(
            &[],
            None,
            &[
                ("X-Forwarded-For", "192.0.2.1"),
                ("X-Forwarded-For", "192.0.2.2"),
                ("X-Forwarded-Proto", "https"),
                ("Forwarded", "for=192.0.2.1"),
            ],
        );
        assert_eq!(
            value(&head, "x-forwarded-for"),
            Some("192.0.2.1, 192.0.2.2, 10.0.0.7")
        );
        assert_eq!(head.headers.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(value(&head, "x-forwarded-proto"), Some("https"));
        assert_eq!(value(&head, "forwarded"), Some("for=192.0.2.1"));
    }

    #[test]
    fn only_trusted_proxies_are_believed_where_some_are_named() {
        let headers = [
            ("X-Forwarded-For", "192.0.2.1"),
            ("X-Forwarded-Host", "evil"),
            ("Forwarded", "host=evil"),
        ];
        let head = applied(&["10.0.0.0/8"], None, &headers);
        assert_eq!(value(&head, "x-forwarded-host"), Some("evil"));
        let head = applied(&["192.168.0.0/16"], None, &headers);
        assert_eq!(value(&head, "x-forwarded-host"), None);
        assert_eq!(value(&head, "forwarded"), None);
        assert_eq!(value(&head, "x-forwarded-for"), Some("10.0.0.7"));
    }

    fn filled(
        scheme: Option<ClientScheme>,
        headers: &[(&'static str, &str)],
    ) -> [Option<String>; 2] {
        let head = applied(&[], scheme, headers);
        ["x-forwarded-proto", "forwarded"].map(|name| value(&head, name).map(str::to_owned))
    }

    #[test]
    fn the_scheme_is_inserted_if_no_header_names_one() {
        let (tls, plain) = (Some(ClientScheme::Https), Some(ClientScheme::Http));
        let nothing = ("Forwarded", "for=192.0.2.1");
        for (scheme, headers, proto, forwarded) in [
            (tls, &[][..], Some("https"), None),
            (plain, &[], Some("http"), None),
            (None, &[], None, None),
            (tls, &[("X-Forwarded-Proto", " ")], Some("https"), None),
            (tls, &[("X-Forwarded-Proto", "http")], Some("http"), None),
            (
                plain,
                &[("X-Forwarded-Proto", "https")],
                Some("https"),
                None,
            ),
            (
                tls,
                &[("Forwarded", "proto=http")],
                None,
                Some("proto=http"),
            ),
            (tls, &[("Forwarded", "")], Some("https"), Some("")),
            (
                tls,
                &[nothing],
                Some("https"),
                Some("proto=https;for=192.0.2.1"),
            ),
            (
                plain,
                &[nothing],
                Some("http"),
                Some("proto=http;for=192.0.2.1"),
            ),
            (None, &[nothing], None, Some("for=192.0.2.1")),
            (
                tls,
                &[nothing, ("X-Forwarded-Proto", "http")],
                Some("http"),
                Some("proto=https;for=192.0.2.1"),
            ),
            (
                plain,
                &[nothing, ("X-Forwarded-Proto", "https, http")],
                Some("https, http"),
                Some("proto=https;for=192.0.2.1"),
            ),
        ] {
            let wanted = [proto, forwarded].map(|text| text.map(str::to_owned));
            assert_eq!(filled(scheme, headers), wanted, "{scheme:?} {headers:?}");
        }
    }

    #[test]
    fn only_the_first_line_of_forwarded_is_changed() {
        let lines = [("Forwarded", "for=a"), ("Forwarded", "proto=http")];
        let head = applied(&[], Some(ClientScheme::Https), &lines);
        let lines: Vec<_> = head.headers.get_all("forwarded").iter().collect();
        assert_eq!(lines, ["proto=https;for=a", "proto=http"]);
    }

    #[test]
    fn untrusted_headers_give_no_scheme() {
        let lies = [("X-Forwarded-Proto", "http"), ("Forwarded", "proto=http")];
        let head = applied(&["192.168.0.0/16"], Some(ClientScheme::Https), &lies);
        assert_eq!(value(&head, "x-forwarded-proto"), Some("https"));
        assert_eq!(value(&head, "forwarded"), None);
    }
}
