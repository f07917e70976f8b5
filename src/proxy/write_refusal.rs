//! What a 405 to a client's request shows of the registry.

use http::{HeaderMap, Method, header};

use crate::oci::RepositoryName;
use crate::proxy::request_target;

/// Which writes the registry refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteRefusal {
    /// None: the method does not fit the path, or deletion is disabled.
    Nothing,
    /// All: the registry is read-only.
    NoWrites,
    /// Uploads: it is read-only, or a pull-through cache, which is another store.
    NoUploads,
}

/// Classifies the 405 to a request by its `Allow` header.
///
/// A read-only registry allows only reads on the paths of blobs, uploads and manifests. A writable
/// one names methods that write, or no method at all if deletion is disabled
/// (`registry/handlers/app.go`, `registry/handlers/blob.go`). A pull-through cache names none.
pub(crate) fn classify(
    prefix: &str,
    target: &[u8],
    method: &Method,
    headers: &HeaderMap,
) -> WriteRefusal {
    let Some(place) = ApiPath::parse(prefix, target) else {
        return WriteRefusal::Nothing;
    };
    let (allows_something, allows_writes) = allowed(headers);
    match *method {
        _ if allows_writes => WriteRefusal::Nothing,
        Method::POST if place == ApiPath::Uploads => WriteRefusal::NoUploads,
        Method::POST | Method::PUT | Method::PATCH => WriteRefusal::NoWrites,
        Method::DELETE if allows_something => WriteRefusal::NoWrites,
        _ => WriteRefusal::Nothing,
    }
}

/// The paths to which content is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ApiPath {
    /// The start of an upload.
    Uploads,
    /// A blob, an upload or a manifest.
    Content,
}

impl ApiPath {
    /// `None` for paths to which no content is written.
    fn parse(prefix: &str, target: &[u8]) -> Option<Self> {
        let rest = request_target::within_the_api(prefix, target)?;
        let (directory, last) = rest.rsplit_once('/')?;
        let (name, place) = if let Some(name) = directory.strip_suffix("/blobs/uploads") {
            let begins = last.is_empty();
            (name, if begins { Self::Uploads } else { Self::Content })
        } else {
            let name = directory
                .strip_suffix("/manifests")
                .or_else(|| directory.strip_suffix("/blobs"))?;
            (name, Self::Content)
        };
        RepositoryName::parse(name).ok().map(|_| place)
    }
}

/// Whether any method is allowed, and whether one that writes is.
fn allowed(headers: &HeaderMap) -> (bool, bool) {
    let all = headers.get_all(header::ALLOW).iter();
    let text: Vec<_> = all.filter_map(|value| value.to_str().ok()).collect();
    let mut methods = text.iter().flat_map(|text| text.split(',')).map(str::trim);
    let is_write = |method: &str| ["POST", "PUT", "PATCH", "DELETE"].contains(&method);
    (!text.is_empty(), methods.any(is_write))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn shown(method: &str, target: &str, allow: Option<&'static str>) -> WriteRefusal {
        let mut headers = HeaderMap::new();
        if let Some(allow) = allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        classify("/", target.as_bytes(), &method, &headers)
    }

    const READING: Option<&str> = Some("GET, HEAD");

    #[test]
    fn a_read_only_registry_is_known_by_any_write() {
        let begin = "/v2/a/b/blobs/uploads/?mount=x";
        assert_eq!(shown("POST", begin, READING), WriteRefusal::NoUploads);
        for (method, target) in [
            ("PATCH", "/v2/a/blobs/uploads/x?_state=y"),
            ("PUT", "/v2/a/blobs/uploads/x?digest=y"),
            ("PATCH", "/v2/a/blobs/uploads/"),
            ("PUT", "/v2/a/manifests/latest"),
            ("DELETE", "/v2/a/manifests/latest"),
            ("DELETE", "/v2/a/blobs/sha256:0"),
        ] {
            assert_eq!(
                shown(method, target, READING),
                WriteRefusal::NoWrites,
                "{target}"
            );
        }
    }

    #[test]
    fn a_pull_through_cache_is_known_by_no_method_at_all() {
        let begin = "/v2/a/blobs/uploads/";
        assert_eq!(shown("POST", begin, None), WriteRefusal::NoUploads);
        assert_eq!(
            shown("PUT", "/v2/a/manifests/x", None),
            WriteRefusal::NoWrites
        );
    }

    #[test]
    fn a_405_to_a_method_that_does_not_fit_shows_nothing() {
        for (method, target, allow) in [
            ("DELETE", "/v2/bobs/tags/list", Some("GET")),
            ("DELETE", "/v2/bobs/blobs/tags/list", Some("GET")),
            (
                "POST",
                "/v2/bobs/manifests/x",
                Some("DELETE, GET, HEAD, PUT"),
            ),
            ("PUT", "/v2/bobs/blobs/sha256:0", Some("DELETE, GET, HEAD")),
            ("PUT", "/v2/bobs/blobs/uploads/", Some("POST")),
            ("DELETE", "/v2/bobs/manifests/x", None),
            ("GET", "/v2/bobs/manifests/x", READING),
            ("BREW", "/v2/bobs/manifests/x", READING),
            ("DELETE", "/v2/_catalog", Some("GET")),
            ("POST", "/v2/", None),
        ] {
            assert_eq!(
                shown(method, target, allow),
                WriteRefusal::Nothing,
                "{target}"
            );
        }
    }

    #[test]
    fn what_stands_beside_the_api_shows_nothing() {
        for target in [
            "/ui/blobs/uploads/?mount=x",
            "/ui/v2/a/blobs/uploads/",
            "/v2/../ui/blobs/uploads/",
            "/v2/%2e%2e/blobs/uploads/",
            "/v2/UPPER/blobs/uploads/",
        ] {
            assert_eq!(
                shown("POST", target, None),
                WriteRefusal::Nothing,
                "{target}"
            );
        }
    }
}
