//! Which requests and responses belong to an upload for which HEADs may wait.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use crate::auth::Credentials;
use crate::discovery::uploads::{PushRequest, UploadRequest, UploadsInFlight};
use crate::mount::MountRequest;
use crate::oci::{Digest, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::request_target;
use crate::proxy::route::Route;
use crate::util::query::pairs;

/// The part of an upload that a request sends; `None` if no HEAD may wait for it.
pub(crate) fn begin(
    uploads: &Arc<UploadsInFlight>,
    prefix: &str,
    session: &Session,
    is_body_empty: bool,
) -> Option<UploadRequest> {
    let head = session.req_header();
    if !matches!(head.method, Method::PATCH | Method::PUT | Method::DELETE) {
        return None;
    }
    let (repository, upload) = request_target::upload_session(prefix, head.raw_path())?;
    let digest = digest_of(head.raw_path()).filter(|_| head.method == Method::PUT);
    let length = content_length(&head.headers);
    let mut request = uploads.request(&key(repository, upload), digest.as_ref(), length)?;
    if head.method == Method::DELETE {
        // Dropped, so the upload has ended.
        return None;
    }
    if is_body_empty {
        request.complete_body();
    }
    Some(request)
}

/// The request of a push, if its layers may wait for their manifest.
pub(crate) fn begin_push(
    uploads: &Arc<UploadsInFlight>,
    prefix: &str,
    session: &Session,
    is_body_empty: bool,
) -> Option<PushRequest> {
    let head = session.req_header();
    let (repository, step) = request_target::pushed(prefix, &head.method, head.raw_path())?;
    let repository = RepositoryName::parse(repository).ok()?;
    let credentials = Credentials::from_single_header(&head.headers)?;
    let mut request = uploads.push_request(&repository, &credentials, step)?;
    if is_body_empty {
        request.complete_body();
    }
    Some(request)
}

/// Records the upload session that the registry opened for a client.
pub(crate) fn record_session(
    uploads: &UploadsInFlight,
    head: &ResponseHeader,
    context: &RequestContext,
) {
    if head.status != StatusCode::ACCEPTED {
        return;
    }
    let (repository, digest) = match &context.route {
        Route::Upload(repository) => (repository, None),
        Route::Mount(MountRequest { target, .. }) | Route::SourcelessMount(target) => {
            (&target.repository, Some(&target.digest))
        }
        Route::AmbiguousMount(_) | Route::Blob(_) | Route::Deletion(_) | Route::Other => return,
    };
    if let Some(credentials) = &context.credentials
        && let Some(session) = opened_session(&head.headers)
    {
        let key = key(repository.as_str(), session);
        uploads.begin(repository, credentials, &key, digest);
    }
}

/// The last component of the session's address.
fn opened_session(headers: &HeaderMap) -> Option<&str> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    let path = location.split(['?', '#']).next()?;
    path.trim_end_matches('/').rsplit('/').next()
}

fn key(repository: &str, session: &str) -> String {
    format!("{repository}/{session}")
}

/// The digest that the end of an upload names.
fn digest_of(target: &[u8]) -> Option<Digest> {
    let (_, query) = std::str::from_utf8(target).ok()?.split_once('?')?;
    let pair = pairs(query).flatten().find(|pair| pair.key == "digest")?;
    Digest::parse(&pair.value).ok()
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_the_end_of_its_address() {
        let opened = |location: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            opened_session(&headers).map(str::to_owned)
        };
        for location in [
            "/v2/a/blobs/uploads/1-2?_state=x/y",
            "https://host/prefix/v2/a/blobs/uploads/1-2",
            "/v2/a/blobs/uploads/1-2/",
        ] {
            assert_eq!(opened(location).as_deref(), Some("1-2"), "{location}");
        }
    }

    #[test]
    fn the_end_of_an_upload_names_its_layer() {
        let digest = Digest::of(b"layer");
        let encoded = digest.as_str().replace(':', "%3A");
        for target in [
            format!("/v2/a/blobs/uploads/1?digest={digest}"),
            format!("/v2/a/blobs/uploads/1?_state=x&digest={encoded}"),
        ] {
            assert_eq!(digest_of(target.as_bytes()), Some(digest.clone()));
        }
        assert_eq!(digest_of(b"/v2/a/blobs/uploads/1?digest=md5:0"), None);
        assert_eq!(digest_of(b"/v2/a/blobs/uploads/1"), None);
    }
}
