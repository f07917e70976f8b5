//! What a request's head says of its body, in a way that no two readers can take differently.

use http::{HeaderMap, HeaderValue, header};

/// Whether the body's length or coding is said as the registry itself would not take it.
///
/// Pingora takes lists of equal lengths, and sends any coding that ends with `chunked` on as if it
/// were nothing else: what follows would then mean something else than the client said.
pub(super) fn is_odd(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next();
    let is_list = first.is_some_and(|length| length.as_bytes().contains(&b','));
    let is_odd_coding = codings.next().is_some_and(|coding| !is_chunked(coding));
    is_odd_coding || codings.next().is_some() || is_list || lengths.any(|it| Some(it) != first)
}

/// The length of a body where the head says it more than once; only one may go on
/// (RFC 9112, 6.3).
pub(super) fn repeated_length(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next()?;
    lengths.next().map(|_| first.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_reading_is_not_odd() {
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
            assert_eq!(is_odd(&all), wanted, "{headers:?}");
        }
    }

    #[test]
    fn only_a_length_that_is_said_again_is_repeated() {
        let mut headers = HeaderMap::new();
        assert_eq!(repeated_length(&headers), None);
        headers.append("content-length", HeaderValue::from_static("7"));
        assert_eq!(repeated_length(&headers), None);
        headers.append("content-length", HeaderValue::from_static("7"));
        assert_eq!(repeated_length(&headers).unwrap(), "7");
    }
}
