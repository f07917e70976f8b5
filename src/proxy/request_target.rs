//! The request line's target: checks, and the forms in which a mount is forwarded.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pingora::protocols::http::authority::raw_target_authority;
use pingora::proxy::Session;

use crate::discovery::uploads::PushStep;
use crate::mount::MountRequest;
use crate::util::query;

/// Whether the request line's target has a fragment, which no client may send (RFC 9112, 3.2).
///
/// Pingora's parser drops it, while the registry reads it as a part of the path or query. Such a
/// request can neither be classified nor forwarded as it came.
pub(crate) fn has_fragment(session: &Session) -> bool {
    let Some(http) = session.as_downstream().as_http1() else {
        return false;
    };
    let head = http.get_headers_raw_bytes();
    let mut lines = head.split(|b| *b == b'\n');
    lines
        .find(|line| !line.trim_ascii().is_empty())
        .is_some_and(|line| line.contains(&b'#'))
}

/// The authority of an absolute target; empty for any other.
pub(crate) fn authority(target: &[u8]) -> &[u8] {
    raw_target_authority(target).authority().unwrap_or_default()
}

/// The request line's target without `mount` and `from`.
pub(crate) fn plain_upload(target: &[u8]) -> Vec<u8> {
    let target = String::from_utf8_lossy(target);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    match query::without_mount(query) {
        rest if rest.is_empty() => path.as_bytes().to_vec(),
        rest => format!("{path}?{rest}").into_bytes(),
    }
}

/// The request line's target with only `mount` and `from` in its query, encoded anew.
pub(crate) fn bare_mount(target: &[u8], mount: &MountRequest) -> Vec<u8> {
    let target = String::from_utf8_lossy(target);
    let (path, _) = target.split_once('?').unwrap_or((&target, ""));
    let source = utf8_percent_encode(mount.source.as_str(), NON_ALPHANUMERIC);
    let digest = utf8_percent_encode(mount.target.digest.as_str(), NON_ALPHANUMERIC);
    format!("{path}?from={source}&mount={digest}").into_bytes()
}

/// The path below `v2/`, if the target is unambiguously within the registry's API: other services
/// on the same port may have rules of their own.
pub(crate) fn within_the_api<'a>(prefix: &str, target: &'a [u8]) -> Option<&'a str> {
    let target = std::str::from_utf8(target).ok()?;
    let path = target.split('?').next().unwrap_or_default();
    let rest = path.strip_prefix(prefix)?.strip_prefix("v2/")?;
    let is_ambiguous = rest.starts_with(['.', '/'])
        || ["%", "\\", "//", "/."].iter().any(|odd| rest.contains(odd));
    (!is_ambiguous).then_some(rest)
}

/// Whether the body of such a request is a blob, or a part of one.
///
/// The end of an upload's path is the registry's choice: `Location` names it.
pub(crate) fn is_blob_upload(prefix: &str, method: &Method, target: &[u8]) -> bool {
    matches!(*method, Method::POST | Method::PATCH | Method::PUT)
        && within_the_api(prefix, target).is_some_and(|path| path.contains("/blobs/upload"))
}

/// The repository of an upload session and the session's name there, if the path is that of one.
///
/// `/v2/<name>/blobs/uploads/<session>` in distribution; other registries choose other ends.
pub(crate) fn upload_session<'a>(prefix: &str, target: &'a [u8]) -> Option<(&'a str, &'a str)> {
    let path = within_the_api(prefix, target)?;
    let (repository, rest) = path.split_once("/blobs/upload")?;
    let (_, session) = rest.trim_end_matches('/').rsplit_once('/')?;
    Some((repository, session))
}

/// The repository that a push sends a request for, and what it asks for.
///
/// A HEAD of a layer counts: a push asks for all its layers.
pub(crate) fn pushed<'a>(
    prefix: &str,
    method: &Method,
    target: &'a [u8],
) -> Option<(&'a str, PushStep)> {
    let path = within_the_api(prefix, target)?;
    let (end, step) = match *method {
        Method::PUT if path.contains("/manifests/") => ("/manifests/", PushStep::Manifest),
        Method::POST => ("/blobs/upload", PushStep::Open),
        Method::PATCH | Method::PUT => ("/blobs/upload", PushStep::Layer),
        Method::HEAD => ("/blobs/", PushStep::Look),
        _ => return None,
    };
    Some((path.rsplit_once(end)?.0, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_the_end_of_an_uploads_path() {
        let session = |target: &'static str| upload_session("/", target.as_bytes());
        for (target, found) in [
            ("/v2/a/b/blobs/uploads/1-2?_state=x", Some(("a/b", "1-2"))),
            ("/v2/a/blobs/uploads/1-2/", Some(("a", "1-2"))),
            ("/v2/a/blobs/upload/x/1-2", Some(("a", "1-2"))),
            ("/v2/a/blobs/uploads/", None),
            ("/v2/a/blobs/sha256:0", None),
            ("/v2/a/%62/blobs/uploads/1", None),
            ("/elsewhere/a/blobs/uploads/1", None),
        ] {
            assert_eq!(session(target), found, "{target}");
        }
    }

    #[test]
    fn a_push_asks_for_layers_and_sends_them_and_a_manifest() {
        for (method, target, found) in [
            (
                Method::HEAD,
                "/v2/a/b/blobs/sha256:0",
                Some(("a/b", PushStep::Look)),
            ),
            (
                Method::POST,
                "/v2/a/blobs/uploads/",
                Some(("a", PushStep::Open)),
            ),
            (
                Method::PATCH,
                "/v2/a/blobs/uploads/1",
                Some(("a", PushStep::Layer)),
            ),
            (
                Method::PUT,
                "/v2/a/blobs/uploads/1?digest=x",
                Some(("a", PushStep::Layer)),
            ),
            (
                Method::PUT,
                "/v2/a/manifests/v1",
                Some(("a", PushStep::Manifest)),
            ),
            (
                Method::PUT,
                "/v2/blobs/manifests/v1",
                Some(("blobs", PushStep::Manifest)),
            ),
            (Method::GET, "/v2/a/blobs/sha256:0", None),
            (Method::HEAD, "/v2/a/manifests/v1", None),
            (Method::DELETE, "/v2/a/manifests/v1", None),
        ] {
            let pushed = pushed("/", &method, target.as_bytes());
            assert_eq!(pushed, found, "{method} {target}");
        }
    }

    #[test]
    fn only_plain_paths_below_the_base_are_the_apis() {
        for (target, is_its) in [
            ("/v2/", true),
            ("/v2/?a=%2e", true),
            ("/v2/a/b/tags/list", true),
            ("/v2/_catalog", true),
            ("/v2", false),
            ("/v2/../login", false),
            ("/v2/a/../../login", false),
            ("/v2/%2e%2e/login", false),
            ("/v2//login", false),
            ("/v2/..\\login", false),
            ("/login", false),
            ("/other/v2/", false),
        ] {
            let within = within_the_api("/", target.as_bytes());
            assert_eq!(within.is_some(), is_its, "{target}");
        }
        let within = |target: &'static str| within_the_api("/pfx/", target.as_bytes());
        assert_eq!(within("/pfx/v2/a/tags/list?n=1"), Some("a/tags/list"));
        assert_eq!(within("/v2/a/tags/list"), None);
    }

    #[test]
    fn bodies_of_blobs_are_told_from_other_bodies() {
        for (method, target, is_upload) in [
            (Method::PATCH, "/v2/a/b/blobs/uploads/0f3c?_state=x", true),
            (
                Method::PUT,
                "/v2/a/blobs/uploads/0f3c?digest=sha256:1",
                true,
            ),
            (Method::POST, "/v2/a/blobs/uploads/?digest=sha256:1", true),
            (Method::PUT, "/v2/a/blobs/upload/0f3c", true),
            (Method::GET, "/v2/a/blobs/uploads/0f3c", false),
            (Method::PUT, "/v2/a/manifests/latest", false),
            (Method::PUT, "/files/v2/a/blobs/uploads/0f3c", false),
        ] {
            let found = is_blob_upload("/", &method, target.as_bytes());
            assert_eq!(found, is_upload, "{method} {target}");
        }
    }
}
