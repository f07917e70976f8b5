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
