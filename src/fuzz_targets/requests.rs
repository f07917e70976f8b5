//! A mount to crossmount is the same mount to the registry, and no mount to the registry goes
//! unnoticed.

use http::request::Parts;
use http::{Method, Request, Version};

use crate::fuzz_targets::input::Input;
use crate::oci::BlobRef;
use crate::proxy::request_target::{bare_mount, plain_upload, within_the_api};
use crate::proxy::route::model::{Seen, registry, unescaped};
use crate::proxy::route::{Route, UPLOADS, classify as read, is_plain};

/// A choice of method, prefix and headers, and a request line's target.
pub(crate) fn classify(input: &[u8]) -> bool {
    let mut input = Input::new(input);
    let choice = input.byte();
    let prefix = if choice & 8 == 0 { "/" } else { "/pfx/" };
    let Some(head) = head(choice) else {
        return false;
    };
    let target = input.rest();
    // The HTTP parser accepts no other byte.
    if target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return false;
    }
    let route = read(prefix, target, &head);
    if within_the_api(prefix, target).is_some() {
        let base = [prefix.as_bytes(), b"v2/"].concat();
        assert!(target.starts_with(&base), "{target:?}");
    }
    let Ok(text) = std::str::from_utf8(target) else {
        assert!(matches!(route, Route::Other | Route::Deletion(_)));
        return false;
    };
    let path = text.split('?').next().unwrap_or_default();
    match &route {
        Route::Blob(blob) => {
            assert!(matches!(head.method, Method::GET | Method::HEAD));
            assert_eq!(path, path_of(prefix, blob));
            let deletion = with_method(&head, Method::DELETE);
            let deleted = read(prefix, target, &deletion);
            assert_eq!(deleted, Route::Deletion(blob.clone()));
        }
        Route::Deletion(_) => assert_eq!(head.method, Method::DELETE),
        _ if head.method == Method::PUT => ended(prefix, path, &route),
        _ if head.method == Method::POST => begun(prefix, text, &head, &route),
        _ => assert_eq!(route, Route::Other),
    }
    route != Route::Other
}

fn head(choice: u8) -> Option<Parts> {
    let method = match choice & 7 {
        0..=2 => Method::POST,
        3 => Method::PUT,
        4 => Method::GET,
        5 => Method::HEAD,
        6 => Method::DELETE,
        _ => Method::PATCH,
    };
    let request = Request::builder().method(method).header("host", "registry");
    let request = match choice >> 4 {
        8 => request.header("content-length", "0"),
        9 => request.header("content-length", "5"),
        10 => request.header("transfer-encoding", "chunked"),
        11 => request.header("host", "other"),
        12 => request.header("connection", "close, authorization"),
        13 => request.header("connection", "keep-alive"),
        14 => request.header("expect", "100-continue"),
        15 => request.version(Version::HTTP_10),
        _ => request,
    };
    Some(request.body(()).ok()?.into_parts().0)
}

fn with_method(head: &Parts, method: Method) -> Parts {
    let mut head = head.clone();
    head.method = method;
    head
}

fn path_of(prefix: &str, blob: &BlobRef) -> String {
    format!("{prefix}v2/{}/blobs/{}", blob.repository, blob.digest)
}

fn ended(prefix: &str, path: &str, route: &Route) {
    let Route::Upload(name) = route else {
        return assert_eq!(*route, Route::Other);
    };
    let start = format!("{prefix}v2/{name}{UPLOADS}");
    let identifier = path.strip_prefix(&*start);
    assert!(identifier.is_some_and(|id| !id.contains('/')), "{path:?}");
}

fn begun(prefix: &str, target: &str, head: &Parts, route: &Route) {
    let seen = registry(prefix, target.as_bytes());
    let is_upload = target
        .split('?')
        .next()
        .is_some_and(|path| path.ends_with(UPLOADS));
    let mount = |target: &BlobRef, from: &str| Seen {
        name: target.repository.as_str().into(),
        from: from.into(),
        mount: target.digest.as_str().into(),
    };
    match route {
        Route::Mount(found) => {
            assert!(is_plain(head));
            let wanted = Some(mount(&found.target, found.source.as_str()));
            assert_eq!(seen, wanted, "{target}");
            let bare = bare_mount(target.as_bytes(), found);
            assert_eq!(registry(prefix, &bare), wanted, "{target}");
        }
        Route::SourcelessMount(blob) => {
            assert!(is_plain(head));
            assert_eq!(seen, Some(mount(blob, "")), "{target}");
        }
        Route::AmbiguousMount(_) => {}
        Route::Upload(name) => {
            let seen = seen.as_ref();
            assert!(seen.is_none_or(|seen| seen.name == name.as_str().as_bytes()));
            assert!(seen.is_none_or(|seen| seen.mount.is_empty()), "{target}");
        }
        // A path that is no new upload as it came may be one to the registry.
        _ => assert!(
            !is_upload || seen.is_none_or(|seen| seen.mount.is_empty()),
            "{target}"
        ),
    }
    if is_upload {
        stripped(target);
    }
}

/// No reader finds a mount in a plain upload, and everything else is as it came.
fn stripped(target: &str) {
    let plain = plain_upload(target.as_bytes());
    let Ok(plain) = std::str::from_utf8(&plain) else {
        return assert!(plain.is_empty(), "{target}");
    };
    let halves = |target: &str| {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        (
            path.to_owned(),
            pairs.map(str::to_owned).collect::<Vec<_>>(),
        )
    };
    let (path, mut pairs) = halves(target);
    pairs.retain(|pair| {
        let key = pair.split('=').next().unwrap_or_default();
        let key = unescaped(key.as_bytes(), true).unwrap_or_default();
        key != b"mount" && key != b"from"
    });
    assert_eq!(halves(plain), (path, pairs), "{target}");
}
