//! Checks that two readers of a request's head agree on where its body ends.

use http::{HeaderMap, HeaderValue, header};
use pingora::proxy::Session;

/// Whether the body's length or coding is written in a way that the registry itself would refuse.
///
/// Pingora accepts lists of equal lengths. It forwards any coding that ends with `chunked` as if
/// there were no other, and so the registry would read another body than the client sent.
pub(crate) fn has_ambiguous_framing(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next();
    let is_list = first.is_some_and(|length| length.as_bytes().contains(&b','));
    let has_other_coding = codings.next().is_some_and(|coding| !is_chunked(coding));
    has_other_coding || codings.next().is_some() || is_list || lengths.any(|it| Some(it) != first)
}

/// Whether a length beside chunks is invalid, or two of them differ.
///
/// Pingora drops each length beside chunks when it reads the head, while the registry itself
/// refuses such a request (`net/http`, `fixLength`).
pub(crate) fn has_length_beside_chunks(session: &Session) -> bool {
    let headers = &session.req_header().headers;
    let http1 = session.as_downstream().as_http1();
    match http1.filter(|_| headers.contains_key(header::TRANSFER_ENCODING)) {
        Some(http1) => has_ambiguous_length(&http1.get_headers_raw_bytes()),
        None => false,
    }
}

/// Checks the head as it came.
fn has_ambiguous_length(head: &[u8]) -> bool {
    let mut lengths = head
        .split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            let is_length = name.eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str().as_bytes());
            is_length.then(|| value[1..].trim_ascii())
        });
    let Some(first) = lengths.next() else {
        return false;
    };
    let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    !is_number || lengths.any(|length| length != first)
}

/// The length of a body, if the head repeats it; only one line may be forwarded (RFC 9112, 6.3).
pub(crate) fn repeated_length(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next()?;
    lengths.next().map(|_| first.clone())
}

/// Whether the request has no body, or a body of a known length of at most `limit` bytes.
pub(crate) fn has_body_of_at_most(session: &mut Session, limit: u64) -> bool {
    let length = |session: &Session| -> Option<u64> {
        let length = session.req_header().headers.get(header::CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    };
    session.is_body_empty() || length(session).is_some_and(|length| length <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_reading_is_not_ambiguous() {
        let chunked = ("transfer-encoding", "chunked");
        let length = |value| ("content-length", value);
        for (headers, wanted) in [
            (vec![], false),
            (vec![length("7")], false),
            (vec![length("7"), length("7")], false),
            (vec![length("7"), length("07")], true),
            (vec![length("7,7")], true),
            (vec![chunked], false),
            (vec![("transfer-encoding", "Chunked")], false),
            (vec![chunked, chunked], true),
            (vec![("transfer-encoding", "gzip, chunked")], true),
            (vec![("transfer-encoding", "identity"), chunked], true),
        ] {
            let mut all = HeaderMap::new();
            for (name, value) in &headers {
                all.append(*name, value.parse().unwrap());
            }
            assert_eq!(has_ambiguous_framing(&all), wanted, "{headers:?}");
        }
    }

    #[test]
    fn a_length_beside_chunks_is_one_number() {
        for (lengths, wanted) in [
            ("", false),
            ("Content-Length: 7\r\n", false),
            ("content-length:7\r\nCONTENT-LENGTH: 7 \r\n", false),
            ("Content-Length: 7\r\nContent-Length: 8\r\n", true),
            ("Content-Length: x\r\n", true),
            ("Content-Length: -1\r\n", true),
            ("Content-Length: +1\r\n", true),
            ("Content-Length:\r\n", true),
            ("Content-Length: 1, 1\r\n", true),
        ] {
            let head = format!("PUT /content-length:x HTTP/1.1\r\n{lengths}A: b\r\n\r\n");
            assert_eq!(has_ambiguous_length(head.as_bytes()), wanted, "{lengths:?}");
        }
    }

    #[test]
    fn only_a_length_that_occurs_twice_is_repeated() {
        let mut headers = HeaderMap::new();
        assert_eq!(repeated_length(&headers), None);
        headers.append("content-length", HeaderValue::from_static("7"));
        assert_eq!(repeated_length(&headers), None);
        headers.append("content-length", HeaderValue::from_static("7"));
        assert_eq!(repeated_length(&headers).unwrap(), "7");
    }
}
