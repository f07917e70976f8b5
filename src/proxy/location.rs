//! The Location of a mounted blob, as the registry would have written it.

use http::{HeaderMap, header};

use crate::config::UpstreamConfig;
use crate::oci::BlobRef;
use crate::proxy::forwarded_headers::rfc7239;

/// Builds Locations by distribution's rules (`registry/api/v2/urls.go`, `handlers/app.go`).
#[derive(Debug)]
pub(crate) struct Locations {
    /// Scheme, authority and path down to the last slash, if the registry is configured with a URL.
    pub(crate) external: Option<String>,
    pub(crate) relative: bool,
    pub(crate) prefix: String,
    /// The scheme that the registry assumes if no header names one. `forwarded_headers` has
    /// inserted the client's own scheme if it differs.
    pub(crate) scheme: &'static str,
}

impl Locations {
    /// Takes the settings that mirror the registry's own.
    pub(crate) fn new(upstream: &UpstreamConfig) -> Self {
        Self {
            external: upstream.external_url.as_deref().map(base_of),
            relative: upstream.relative_urls,
            prefix: upstream.prefix.clone(),
            scheme: if upstream.url.is_tls() {
                "https"
            } else {
                "http"
            },
        }
    }

    /// The Location of a mounted blob, by the headers that the registry would get.
    ///
    /// `None` if they name a scheme or host that has no unique spelling in a URL: then the mount is
    /// forwarded.
    pub(crate) fn for_blob(&self, blob: &BlobRef, headers: &HeaderMap) -> Option<String> {
        let BlobRef { repository, digest } = blob;
        let path = format!("v2/{repository}/blobs/{digest}");
        if let Some(external) = &self.external {
            return Some(format!("{external}{path}"));
        }
        if self.relative {
            return Some(format!("/{path}"));
        }
        let (scheme, host) = self.origin(headers)?;
        let is_plain = is_scheme(&scheme) && is_host(&host);
        is_plain.then(|| format!("{scheme}://{host}{}{path}", self.prefix))
    }

    /// Scheme and host that the client used: from `Forwarded`, else `X-Forwarded-*`, else Host.
    fn origin(&self, headers: &HeaderMap) -> Option<(String, String)> {
        let text = |name: &str| match headers.get(name) {
            None => Some(None),
            Some(value) => value
                .to_str()
                .ok()
                .map(|text| Some(text).filter(|t| !t.is_empty())),
        };
        let mut scheme = self.scheme.to_owned();
        let mut host = text(header::HOST.as_str())??.to_owned();
        if let Some(forwarded) = text("forwarded")? {
            let said = rfc7239::parse(forwarded).unwrap_or_default();
            scheme = said
                .proto
                .filter(|proto| !proto.is_empty())
                .unwrap_or(scheme);
            host = said.host.filter(|said| !said.is_empty()).unwrap_or(host);
        } else {
            if let Some(proto) = text("x-forwarded-proto")? {
                proto.clone_into(&mut scheme);
            }
            if let Some(hosts) = text("x-forwarded-host")? {
                let first = hosts.split(',').next().unwrap_or_default();
                first.trim().clone_into(&mut host);
            }
        }
        Some((scheme, host))
    }
}

/// The part up to the path's last slash, against which a relative reference is resolved.
fn base_of(url: &str) -> String {
    let authority = url.find("://").map_or(0, |at| at + 3);
    match url[authority..].rfind('/') {
        Some(slash) => url[..=authority + slash].to_owned(),
        None => format!("{url}/"),
    }
}

/// Whether a text is a URL's scheme.
pub(crate) fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn is_host(text: &str) -> bool {
    let is_plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    !text.is_empty() && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, RepositoryName};

    const HEX: &str = "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";

    fn plain() -> Locations {
        Locations {
            external: None,
            relative: false,
            prefix: "/".to_owned(),
            scheme: "http",
        }
    }

    fn location(locations: &Locations, headers: &[(&'static str, &str)]) -> Option<String> {
        let blob = BlobRef {
            repository: RepositoryName::parse("a/b").unwrap(),
            digest: Digest::parse(&format!("sha256:{HEX}")).unwrap(),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        locations.for_blob(&blob, &map).map(|found| {
            let tail = format!("v2/a/b/blobs/sha256:{HEX}");
            found.strip_suffix(&tail).unwrap().to_owned()
        })
    }

    #[test]
    fn the_clients_headers_decide_in_distributions_order() {
        for (headers, base) in [
            (&[("host", "r:5000")][..], "http://r:5000/"),
            (
                &[("host", "r"), ("x-forwarded-proto", "https")],
                "https://r/",
            ),
            (
                &[("host", "r"), ("x-forwarded-host", "a:1, b")],
                "http://a:1/",
            ),
            (
                &[
                    ("host", "r"),
                    ("forwarded", "proto=https;host=f"),
                    ("x-forwarded-host", "x"),
                ],
                "https://f/",
            ),
            (
                &[
                    ("host", "r"),
                    ("forwarded", "for=1.2.3.4"),
                    ("x-forwarded-host", "x"),
                ],
                "http://r/",
            ),
            (
                &[
                    ("host", "r"),
                    ("forwarded", "nonsense"),
                    ("x-forwarded-proto", "https"),
                ],
                "http://r/",
            ),
            (&[("host", "r"), ("x-forwarded-host", "")], "http://r/"),
        ] {
            assert_eq!(
                location(&plain(), headers).as_deref(),
                Some(base),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn what_has_no_one_spelling_is_left_to_the_registry() {
        for headers in [
            &[][..],
            &[("host", "a b")],
            &[("host", "a/b")],
            &[("host", "r"), ("x-forwarded-proto", "ht tp")],
            &[("host", "r"), ("x-forwarded-host", ",b")],
            &[("host", "r"), ("forwarded", "host=\"a/b\"")],
        ] {
            assert_eq!(location(&plain(), headers), None, "{headers:?}");
        }
    }

    #[test]
    fn an_external_url_wins_over_everything() {
        for (url, base) in [
            ("https://e.example", "https://e.example/"),
            ("https://e.example/", "https://e.example/"),
            ("https://e.example/sub/", "https://e.example/sub/"),
            ("https://e.example/sub", "https://e.example/"),
        ] {
            let locations = Locations {
                external: Some(base_of(url)),
                relative: true,
                prefix: "/pfx/".to_owned(),
                ..plain()
            };
            assert_eq!(
                location(&locations, &[("host", "r")]).as_deref(),
                Some(base)
            );
        }
    }

    #[test]
    fn relative_urls_have_no_prefix_and_absolute_ones_do() {
        let relative = Locations {
            relative: true,
            prefix: "/pfx/".to_owned(),
            ..plain()
        };
        assert_eq!(location(&relative, &[("host", "r")]).as_deref(), Some("/"));
        let prefixed = Locations {
            prefix: "/pfx/".to_owned(),
            ..plain()
        };
        assert_eq!(
            location(&prefixed, &[("host", "r")]).as_deref(),
            Some("http://r/pfx/")
        );
    }
}
