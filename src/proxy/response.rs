//! The 201 to a mount, as the registry writes it.

use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

use crate::oci::Digest;

/// The head of a 201 (`registry/handlers/blobupload.go`, `writeBlobCreatedHeaders`), with the
/// configured headers among the registry's own, in the order in which Go writes them.
pub(crate) fn created(
    digest: &Digest,
    location: &str,
    response_headers: &[(String, Vec<String>)],
) -> pingora::Result<ResponseHeader> {
    let mut headers: Vec<(String, String)> = vec![
        ("Content-Length".to_owned(), "0".to_owned()),
        ("Docker-Content-Digest".to_owned(), digest.to_string()),
        (
            "Docker-Distribution-Api-Version".to_owned(),
            "registry/2.0".to_owned(),
        ),
        ("Location".to_owned(), location.to_owned()),
    ];
    for (name, values) in response_headers {
        headers.extend(values.iter().map(|value| (canonical(name), value.clone())));
    }
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    let mut head = ResponseHeader::build(StatusCode::CREATED, Some(headers.len() + 2))?;
    for (name, value) in headers {
        head.append_header(name, value)?;
    }
    Ok(head)
}

/// An answer of our own with an OCI error, where the registry gave none.
pub(crate) fn unavailable(status: StatusCode, length: usize) -> pingora::Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(4))?;
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    head.insert_header(header::CONTENT_TYPE, kind)?;
    head.insert_header(header::CONTENT_LENGTH, length)?;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        head.insert_header(header::RETRY_AFTER, "1")?;
    }
    Ok(head)
}

/// A header's name as Go spells it: each part begins with a capital.
fn canonical(name: &str) -> String {
    name.split('-')
        .map(|part| {
            let (first, rest) = part.split_at(part.len().min(1));
            first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
        })
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_go_does() {
        assert_eq!(
            canonical("x-content-TYPE-options"),
            "X-Content-Type-Options"
        );
        assert_eq!(
            canonical("Access-Control-Allow-Origin"),
            "Access-Control-Allow-Origin"
        );
    }
}
