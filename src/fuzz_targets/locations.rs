//! A Location has no byte that could end its line or leave its URL.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::fuzz_targets::input::Input;
use crate::oci::{BlobRef, Digest, RepositoryName};
use crate::proxy::location::Locations;

/// A choice of settings, and the headers that name a host or scheme.
pub(crate) fn locations(input: &[u8]) -> bool {
    let mut input = Input::new(input);
    let choice = input.byte();
    let locations = Locations {
        external: None,
        relative: choice & 1 != 0,
        prefix: if choice & 2 == 0 { "/" } else { "/pfx/" }.to_owned(),
        scheme: "http",
    };
    let mut headers = HeaderMap::new();
    for name in [
        header::HOST,
        header::FORWARDED,
        HeaderName::from_static("x-forwarded-proto"),
        HeaderName::from_static("x-forwarded-host"),
    ] {
        // An empty line is an absent header, a single space an empty one.
        let value = match input.line() {
            b"" => continue,
            b" " => b"",
            value => value,
        };
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return false;
        };
        headers.insert(name, value);
    }
    let digest = format!("sha256:{}", "0f".repeat(32));
    let (Ok(name), Ok(digest)) = (RepositoryName::parse("a/b"), Digest::parse(&digest)) else {
        return false;
    };
    let blob = BlobRef {
        repository: name,
        digest,
    };
    let Some(found) = locations.for_blob(&blob, &headers) else {
        return false;
    };
    let path = format!("v2/a/b/blobs/{}", blob.digest);
    if locations.relative {
        assert_eq!(found, format!("/{path}"));
        return true;
    }
    let origin = found.strip_suffix(&format!("{}{path}", locations.prefix));
    let (scheme, host) = origin
        .and_then(|origin| origin.split_once("://"))
        .unwrap_or_default();
    let is_of = |text: &str, odd: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || odd.as_bytes().contains(&b))
    };
    assert!(is_of(scheme, "+-."), "{found:?}");
    assert!(is_of(host, ".-_:[]"), "{found:?}");
    let said = |text: &str| {
        let mut values = headers.values();
        values.any(|value| {
            String::from_utf8_lossy(value.as_bytes())
                .replace('\\', "")
                .contains(text)
        })
    };
    assert!(said(host), "{found:?}");
    assert!(scheme == locations.scheme || said(scheme), "{found:?}");
    true
}
