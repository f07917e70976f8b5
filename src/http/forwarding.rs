//! Who stands behind whom: the forwarding headers that the registry gets.
//!
//! The peer's address is appended to X-Forwarded-For. Other forwarding headers pass as they
//! came, unless `trusted_proxies` says whose are to be believed; then everybody else's are
//! dropped. Where TLS ends here and nobody has said so yet, X-Forwarded-Proto says it.

use std::net::IpAddr;

use http::HeaderName;
use ipnet::IpNet;
use pingora::http::RequestHeader;

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What somebody who is not believed cannot say.
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

/// Whose forwarding headers are believed, and whether TLS ends here.
#[derive(Debug)]
pub struct Forwarding {
    trusted: Vec<IpNet>,
    ends_tls: bool,
}

impl Forwarding {
    /// An empty list believes everybody, as the registry does.
    #[must_use]
    pub fn new(trusted: Vec<IpNet>, ends_tls: bool) -> Self {
        Self { trusted, ends_tls }
    }

    /// Changes a request's head to what the registry shall see.
    pub(super) fn apply(&self, peer: Option<IpAddr>, head: &mut RequestHeader) {
        if !self.believes(peer) {
            for name in UNTRUSTED {
                head.remove_header(*name);
            }
        }
        if let Some(peer) = peer {
            append_peer(peer, head);
        }
        let is_said = head.headers.contains_key(FORWARDED) || head.headers.contains_key(PROTO);
        if self.ends_tls && !is_said {
            set(head, "X-Forwarded-Proto", "https");
        }
    }

    fn believes(&self, peer: Option<IpAddr>) -> bool {
        let is_trusted = |peer: IpAddr| self.trusted.iter().any(|net| net.contains(&peer));
        self.trusted.is_empty() || peer.is_some_and(is_trusted)
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
    // Only a value with control characters is refused, and such a head was refused before.
    if let Err(error) = head.insert_header(name, value) {
        tracing::debug!(%error, name, "a forwarding header was left as it came");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(
        trusted: &[&str],
        ends_tls: bool,
        headers: &[(&'static str, &str)],
    ) -> RequestHeader {
        let trusted = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let mut head = RequestHeader::build("GET", b"/v2/", None).unwrap();
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        let peer = Some("10.0.0.7".parse().unwrap());
        Forwarding::new(trusted, ends_tls).apply(peer, &mut head);
        head
    }

    fn value<'a>(head: &'a RequestHeader, name: &str) -> Option<&'a str> {
        head.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn the_peer_is_appended_and_everything_else_stays() {
        let head = applied(
            &[],
            false,
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
        let head = applied(&["10.0.0.0/8"], false, &headers);
        assert_eq!(value(&head, "x-forwarded-host"), Some("evil"));
        let head = applied(&["192.168.0.0/16"], false, &headers);
        assert_eq!(value(&head, "x-forwarded-host"), None);
        assert_eq!(value(&head, "forwarded"), None);
        assert_eq!(value(&head, "x-forwarded-for"), Some("10.0.0.7"));
    }

    #[test]
    fn the_end_of_tls_is_said_unless_somebody_said_it_before() {
        assert_eq!(
            value(&applied(&[], true, &[]), "x-forwarded-proto"),
            Some("https")
        );
        assert_eq!(value(&applied(&[], false, &[]), "x-forwarded-proto"), None);
        let said = applied(&[], true, &[("X-Forwarded-Proto", "http")]);
        assert_eq!(value(&said, "x-forwarded-proto"), Some("http"));
        let said = applied(&[], true, &[("Forwarded", "proto=http")]);
        assert_eq!(value(&said, "x-forwarded-proto"), None);
    }
}
