//! Which token requests may be answered from the cache, and which of them are equal.

use http::request::Parts;
use http::{HeaderName, Method, header};

use crate::auth::Credentials;
use crate::token_cache::scope::Scope;
use crate::util::query::pairs;
use crate::util::{Fingerprint, Fingerprints};

/// Headers on which a token does not depend, unless the response lists them in `Vary`.
///
/// Any other header makes requests differ: a proxy in front may have put a user name into it, and a
/// registry may have rules by address.
const NEUTRAL: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "connection",
    "content-length",
    "host",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-request-id",
];

/// A token request with credentials.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenRequest {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) scopes: Vec<Scope>,
}

impl TokenRequest {
    /// Reads a request; `None` if its response is for its client alone, or may not be cached.
    pub(crate) fn read(
        path: &str,
        target: &[u8],
        head: &Parts,
        fingerprints: &Fingerprints,
    ) -> Option<Self> {
        let text = std::str::from_utf8(target).ok()?;
        let (requested, query) = text.split_once('?').unwrap_or((text, ""));
        if head.method != Method::GET || requested != path || !is_cacheable(head) {
            return None;
        }
        let mut scopes = Vec::new();
        for pair in pairs(query) {
            let pair = pair.ok()?;
            match &*pair.key {
                "offline_token" => return None,
                "scope" => {
                    for scope in pair.value.split_whitespace() {
                        scopes.push(Scope::parse(scope)?);
                    }
                }
                _ => {}
            }
        }
        Some(Self {
            fingerprint: fingerprint(target, head, fingerprints),
            scopes,
        })
    }
}

/// Whether a request has a login, carries no cookie, and does not bypass caches.
fn is_cacheable(head: &Parts) -> bool {
    let credentials = Credentials::from_single_header(&head.headers);
    let has_login = credentials.is_some_and(|credentials| !credentials.is_anonymous());
    let wants_fresh = head
        .headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .chain(head.headers.get_all(header::PRAGMA))
        .any(|value| !value.is_empty());
    has_login && !wants_fresh && !head.headers.contains_key(header::COOKIE)
}

/// The fingerprint of credentials, raw query, host, and every header that may matter.
fn fingerprint(target: &[u8], head: &Parts, fingerprints: &Fingerprints) -> Fingerprint {
    let is_neutral = |name: &HeaderName| NEUTRAL.contains(&name.as_str());
    let mut others: Vec<_> = head
        .headers
        .iter()
        .filter(|(name, _)| !is_neutral(name))
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    others.sort_unstable();
    let value = |name: HeaderName| {
        let value = head.headers.get(name);
        value.map_or(&b""[..], |value| value.as_bytes())
    };
    let mut parts = vec![target, value(header::AUTHORIZATION), value(header::HOST)];
    for (name, value) in others {
        parts.extend([name.as_bytes(), value]);
    }
    fingerprints.fingerprint(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const TARGET: &str = "/token/?service=h&scope=repository:a/b:pull,push&scope=repository:c:pull";
    const LOGIN: (&str, &str) = ("authorization", "Basic YWxpY2U6c2VjcmV0");
    const HOST: (&str, &str) = ("host", "h");

    fn read(
        prints: &Fingerprints,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Option<TokenRequest> {
        let mut request = Request::builder().method(method).uri("/token/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        TokenRequest::read("/token/", target.as_bytes(), &head, prints)
    }

    #[test]
    fn only_a_login_that_keeps_no_state_is_answered_from_the_cache() {
        let prints = Fingerprints::new().unwrap();
        let is_read = |method: &str, target: &str, headers: &[(&str, &str)]| {
            read(&prints, method, target, headers).is_some()
        };
        assert!(is_read("GET", TARGET, &[LOGIN, HOST]));
        assert!(is_read("GET", "/token/", &[LOGIN, HOST]));
        for (method, target) in [
            ("HEAD", TARGET),
            ("POST", TARGET),
            ("GET", "/token"),
            ("GET", "/v2/"),
            ("GET", "/token/?service=h&offline_token=true"),
            ("GET", "/token/?service=h&off%6cine_token"),
            ("GET", "/token/?service=h&scope=nonsense"),
            ("GET", "/token/?service=h&x=%zz"),
        ] {
            assert!(
                !is_read(method, target, &[LOGIN, HOST]),
                "{method} {target}"
            );
        }
        for other in [
            ("cookie", "a=b"),
            ("cache-control", "no-cache"),
            ("pragma", "no-cache"),
            ("authorization", "Basic YWxpY2U6c2VjcmV0"),
        ] {
            assert!(!is_read("GET", TARGET, &[LOGIN, HOST, other]), "{other:?}");
        }
        assert!(!is_read("GET", TARGET, &[HOST]));
        assert!(!is_read("GET", TARGET, &[HOST, ("authorization", "")]));
        assert!(!is_read(
            "GET",
            TARGET,
            &[HOST, ("authorization", "Basic Og==")]
        ));
    }

    #[test]
    fn whatever_may_matter_makes_another_request() {
        let prints = Fingerprints::new().unwrap();
        let one = read(&prints, "GET", TARGET, &[LOGIN, HOST]).unwrap();
        for same in [("user-agent", "x"), ("accept", "*/*")] {
            let other = read(&prints, "GET", TARGET, &[LOGIN, HOST, same]).unwrap();
            assert_eq!(one, other, "{same:?}");
        }
        let elsewhere = [
            read(&prints, "GET", TARGET, &[LOGIN, ("host", "other")]),
            read(
                &prints,
                "GET",
                TARGET,
                &[HOST, ("authorization", "Basic YWxpY2U6b3RoZXI=")],
            ),
            read(
                &prints,
                "GET",
                TARGET,
                &[LOGIN, HOST, ("remote-user", "bob")],
            ),
            read(
                &prints,
                "GET",
                &TARGET.replace("a/b", "a%2Fb"),
                &[LOGIN, HOST],
            ),
        ];
        for other in elsewhere {
            assert_ne!(one.fingerprint, other.unwrap().fingerprint);
        }
    }
}
