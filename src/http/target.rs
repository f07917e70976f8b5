//! The request line's target.

use pingora::proxy::Session;

use super::query;

/// Whether the request line's target has a fragment, which no client may send (RFC 9112, 3.2).
///
/// Pingora's parser drops it, while the registry reads it as a part of the path or query: such
/// a request can neither be judged here nor go on as it came.
pub(super) fn has_fragment(session: &Session) -> bool {
    let Some(http) = session.as_downstream().as_http1() else {
        return false;
    };
    let head = http.get_headers_raw_bytes();
    let mut lines = head.split(|b| *b == b'\n');
    lines
        .find(|line| !line.trim_ascii().is_empty())
        .is_some_and(|line| line.contains(&b'#'))
}

/// The request line's target without `mount` and `from`.
pub(super) fn plain_upload(target: &[u8]) -> Vec<u8> {
    let target = String::from_utf8_lossy(target);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    match query::without_mount(query) {
        rest if rest.is_empty() => path.as_bytes().to_vec(),
        rest => format!("{path}?{rest}").into_bytes(),
    }
}

/// Whether a target is one of the registry's API beyond doubt: whatever stands beside it on the
/// same port may have passwords of its own.
pub(super) fn is_of_the_api(prefix: &str, target: &[u8]) -> bool {
    let Ok(target) = std::str::from_utf8(target) else {
        return false;
    };
    let path = target.split('?').next().unwrap_or_default();
    let rest = path
        .strip_prefix(prefix)
        .and_then(|path| path.strip_prefix("v2/"));
    let is_odd = |rest: &str| {
        rest.starts_with(['.', '/']) || ["%", "\\", "//", "/."].iter().any(|odd| rest.contains(odd))
    };
    rest.is_some_and(|rest| !is_odd(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(is_of_the_api("/", target.as_bytes()), is_its, "{target}");
        }
        assert!(is_of_the_api("/pfx/", b"/pfx/v2/a/tags/list"));
        assert!(!is_of_the_api("/pfx/", b"/v2/a/tags/list"));
    }
}
