//! Decides whether a registry's redirect is followed, and to where.

use http::{HeaderName, StatusCode, header};
use pingora::http::ResponseHeader;
use reqwest::Url;

use crate::upstream::delegated::CallerIdentity;

/// Stands for the registry's host while a relative reference is resolved.
const OWN_HOST: &str = "http://registry.invalid";
/// Headers with addresses of clients and proxies, which name no host of a registry.
const ADDRESSES: &[&str] = &["x-forwarded-for", "x-real-ip", "x-request-id"];

/// The target of a redirect.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RedirectTarget {
    /// This path and query of the registry itself.
    Registry(String),
    /// A URL elsewhere.
    Storage(Url),
}

pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// The target of the response to a request for the path `requested`; `None` if it is not followed.
///
/// A registry may build its URLs from the host that the client named. crossmount connects to no
/// such host, or clients could choose to whom it connects. The request goes to the registry
/// itself instead, because that host stands for it.
pub(crate) fn target_of(
    head: &ResponseHeader,
    requested: &[u8],
    name: &CallerIdentity,
) -> Option<RedirectTarget> {
    let mut locations = head.headers.get_all(header::LOCATION).iter();
    let location = locations.next()?.to_str().ok()?;
    if locations.next().is_some() {
        return None;
    }
    let requested = std::str::from_utf8(requested).ok()?;
    let own = Url::parse(&format!("{OWN_HOST}{requested}")).ok()?;
    let url = own.join(location).ok()?;
    let is_clean = url.username().is_empty() && url.password().is_none();
    if !is_clean || !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    if url.origin() == own.origin() || may_be_named_by_client(&url, name) {
        let query = url.query().map(|query| format!("?{query}"));
        let query = query.unwrap_or_default();
        return Some(RedirectTarget::Registry(format!("{}{query}", url.path())));
    }
    // Without a scheme in the redirect the scheme would be a guess.
    let has_scheme = Url::parse(location).is_ok();
    has_scheme.then_some(RedirectTarget::Storage(url))
}

/// Whether the client may have named the host of `url` itself.
///
/// A host that it named without a port stands for all ports of that host. So does every host if
/// the client named a port elsewhere.
fn may_be_named_by_client(url: &Url, name: &CallerIdentity) -> bool {
    let names_address = |name: &HeaderName| ADDRESSES.contains(&name.as_str());
    let names_port = |name: &HeaderName| name == "x-forwarded-port";
    let any_port = name.forwarded.iter().any(|(name, _)| names_port(name));
    let forwarded = name.forwarded.iter();
    let forwarded = forwarded.filter(|(name, _)| !names_address(name));
    let values = forwarded.map(|(_, value)| value).chain([&name.host]);
    values.into_iter().any(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        let is_part = |c: char| c.is_alphanumeric() || "-._~%:[]".contains(c);
        text.split(|c| !is_part(c)).any(|word| {
            // Hosts have many spellings, and addresses even more.
            let Ok(named) = Url::parse(&format!("http://{word}")) else {
                return false;
            };
            let names_it = any_port || named.port().is_none() || named.port() == url.port();
            named.host_str() == url.host_str() && names_it
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn led(location: &str, headers: &[(&'static str, &str)]) -> Option<String> {
        let mut client = HeaderMap::new();
        for (name, value) in headers {
            client.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let name = CallerIdentity::for_request(&client, None).unwrap();
        let mut head = ResponseHeader::build(StatusCode::TEMPORARY_REDIRECT, None).unwrap();
        head.append_header(header::LOCATION, location).unwrap();
        match target_of(&head, b"/pfx/v2/a/blobs/d", &name)? {
            RedirectTarget::Registry(target) => Some(format!("registry {target}")),
            RedirectTarget::Storage(url) => Some(format!("storage {url}")),
        }
    }

    const HOST: (&str, &str) = ("host", "reg.example:5000");

    #[test]
    fn a_storage_service_is_named_by_a_whole_url_and_the_registry_by_a_relative_one() {
        for (location, expected) in [
            (
                "https://s3.example/b/d?X-Sig=a%2Fb",
                Some("storage https://s3.example/b/d?X-Sig=a%2Fb"),
            ),
            (
                "http://reg.example:9000/d",
                Some("storage http://reg.example:9000/d"),
            ),
            ("/data/d?x=1", Some("registry /data/d?x=1")),
            ("d2", Some("registry /pfx/v2/a/blobs/d2")),
            ("?x", Some("registry /pfx/v2/a/blobs/d?x")),
            ("http://reg.example:5000/d", Some("registry /d")),
            ("https://REG.example:5000/d", Some("registry /d")),
            ("//s3.example/d", None),
            ("http://user@s3.example/d", None),
            ("http://:secret@s3.example/d", None),
            ("ftp://s3.example/d", None),
            ("file:///etc/passwd", None),
            ("http://", None),
        ] {
            assert_eq!(led(location, &[HOST]).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn a_host_that_the_client_named_is_never_connected_to() {
        let within = |headers: &[(&'static str, &str)]| {
            led("http://169.254.169.254:8080/d", headers).unwrap()
        };
        let registry = "registry /d";
        assert_eq!(within(&[HOST]), "storage http://169.254.169.254:8080/d");
        for host in [
            "169.254.169.254",
            "169.254.169.254:8080",
            "0xa9fea9fe",
            "2852039166:8080",
            "169.254.43518",
            "%31%36%39.254.169.254",
        ] {
            assert_eq!(within(&[("host", host)]), registry, "{host}");
            let forwarded = format!("for=192.0.2.1;host=\"{host}\";proto=http");
            for (name, value) in [("x-forwarded-host", host), ("forwarded", &forwarded)] {
                assert_eq!(within(&[HOST, (name, value)]), registry, "{name} {value}");
            }
        }
        let port = ("x-forwarded-port", "8080");
        assert_eq!(within(&[("host", "169.254.169.254:1"), port]), registry);
        let proto = ("x-forwarded-proto", "http://169.254.169.254:8080/?");
        assert_eq!(within(&[HOST, proto]), registry);
        let client = ("x-forwarded-for", "169.254.169.254");
        assert_eq!(
            within(&[HOST, client]),
            "storage http://169.254.169.254:8080/d"
        );
    }

    #[test]
    fn of_two_places_none_is_the_right_one() {
        let mut client = HeaderMap::new();
        client.append("host", HeaderValue::from_static("reg.example"));
        let name = CallerIdentity::for_request(&client, None).unwrap();
        let mut head = ResponseHeader::build(StatusCode::FOUND, None).unwrap();
        assert_eq!(target_of(&head, b"/v2/", &name), None);
        for location in ["http://one.example/", "http://two.example/"] {
            head.append_header(header::LOCATION, location).unwrap();
        }
        assert_eq!(target_of(&head, b"/v2/", &name), None);
    }
}
