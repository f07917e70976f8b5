//! Classifies a request: a mount that crossmount may respond to, or one to forward.
//!
//! A pure function of the request's head. A mount is only what crossmount and the registry cannot
//! read differently; every ambiguous request is forwarded.

#[cfg(test)]
mod agreement;
#[cfg(any(test, fuzzing))]
pub(crate) mod model;

use http::request::Parts;
use http::{Method, Version, header};
use percent_encoding::percent_decode;

use crate::mount::MountRequest;
use crate::oci::{BlobRef, Digest, RepositoryName};
use crate::util::query::{QueryPair, has_key, pairs};

/// Follows a repository's name in the path of a new upload.
pub(crate) const UPLOADS: &str = "/blobs/uploads/";

/// The kind of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// A mount that names its source and is unambiguous.
    Mount(MountRequest),
    /// A request with `mount` that two readers could take differently.
    AmbiguousMount(Ambiguity),
    /// A mount that names no source.
    SourcelessMount(BlobRef),
    /// The start or the end of an upload into a repository.
    Upload(RepositoryName),
    /// A GET or HEAD for a layer of a repository.
    Blob(BlobRef),
    /// A DELETE of a layer of a repository.
    Deletion(BlobRef),
    /// Anything else.
    Other,
}

impl Route {
    /// Whether a request without a body opens an upload session, or mounts a layer, and no more.
    pub(crate) fn opens_session(&self, method: &Method) -> bool {
        let is_upload = matches!(
            self,
            Self::Upload(_) | Self::Mount(_) | Self::SourcelessMount(_)
        );
        is_upload && *method == Method::POST
    }
}

/// What makes a request with `mount` ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ambiguity {
    /// The query: only the registry can judge it, but its refusal may become a plain upload.
    Words,
    /// A body, the path, a header or the `digest` of an upload: it may be no mount at all.
    Form,
}

/// Classifies a request by its head. `target` is the request line's target as it came, and
/// `prefix` the path of the registry's API, with slashes at both ends.
pub(crate) fn classify(prefix: &str, target: &[u8], head: &Parts) -> Route {
    if head.method == Method::DELETE {
        return deleted(prefix, target).map_or(Route::Other, Route::Deletion);
    }
    let Ok(target) = std::str::from_utf8(target) else {
        return Route::Other;
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match head.method {
        Method::PUT => completed_upload(prefix, path),
        Method::POST if path.ends_with(UPLOADS) => new_upload(prefix, path, query, head),
        Method::GET | Method::HEAD => blob(prefix, path).map_or(Route::Other, Route::Blob),
        _ => Route::Other,
    }
}

fn new_upload(prefix: &str, path: &str, query: &str, head: &Parts) -> Route {
    let repository = repository(prefix, path.strip_suffix(UPLOADS));
    let is_key = |name: &'static str| {
        move |pair: &Result<QueryPair<'_>, &str>| match pair {
            Ok(pair) => pair.key == name,
            Err(raw) => raw.contains(name) || has_key(raw, name),
        }
    };
    if !pairs(query).any(|pair| is_key("mount")(&pair)) {
        return repository.map_or(Route::Other, Route::Upload);
    }
    let Some(target) = repository.filter(|_| is_plain(head)) else {
        return Route::AmbiguousMount(Ambiguity::Form);
    };
    if pairs(query).any(|pair| is_key("digest")(&pair)) {
        return Route::AmbiguousMount(Ambiguity::Form);
    }
    let odd = Route::AmbiguousMount(Ambiguity::Words);
    let Ok(pairs) = pairs(query).collect::<Result<Vec<_>, _>>() else {
        return odd;
    };
    mount(target, &pairs).unwrap_or(odd)
}

/// The mount that an unambiguous query names.
fn mount(target: RepositoryName, pairs: &[QueryPair<'_>]) -> Option<Route> {
    let mut mount = None;
    let mut from = None;
    for pair in pairs {
        let place = match &*pair.key {
            "mount" => &mut mount,
            "from" => &mut from,
            _ => continue,
        };
        if place.replace(&*pair.value).is_some() {
            return None;
        }
    }
    let digest = Digest::parse(mount?).ok()?;
    if !target.is_mountable() {
        return None;
    }
    let target = BlobRef {
        repository: target,
        digest,
    };
    let Some(from) = from else {
        return Some(Route::SourcelessMount(target));
    };
    let source = RepositoryName::parse(from).ok();
    let source = source.filter(RepositoryName::is_mountable)?;
    Some(Route::Mount(MountRequest { target, source }))
}

/// Whether the request has no body, and nothing in its head that two readers could take
/// differently.
///
/// A form in the body would override the query, in the registry's access check too.
pub(crate) fn is_plain(head: &Parts) -> bool {
    let count = |name| head.headers.get_all(name).iter().count();
    let length = head.headers.get(header::CONTENT_LENGTH);
    let host = head.headers.get(header::HOST);
    head.version != Version::HTTP_09
        && count(header::CONTENT_LENGTH) <= 1
        && length.is_none_or(|length| length == "0")
        && count(header::HOST) == 1
        && host.is_some_and(|host| !host.is_empty())
        && count(header::AUTHORIZATION) <= 1
        && count(header::TRANSFER_ENCODING) == 0
        && count(header::EXPECT) == 0
        && nominates_nothing(head)
}

/// Headers that a client may list in Connection: crossmount reads none of them.
const CONNECTION_OPTIONS: &[&str] = &[
    "close",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// Whether Connection lists no header that crossmount reads: a listed one would not reach the
/// registry.
fn nominates_nothing(head: &Parts) -> bool {
    let options = head.headers.get_all(header::CONNECTION).iter();
    let is_known = |option: &[u8]| {
        let mut known = CONNECTION_OPTIONS.iter();
        known.any(|known| option.eq_ignore_ascii_case(known.as_bytes()))
    };
    options
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .all(|option| option.is_empty() || is_known(option))
}

/// `PUT …/blobs/uploads/<identifier>` completes an upload.
fn completed_upload(prefix: &str, path: &str) -> Route {
    let directory = path.rfind('/').map(|slash| &path[..=slash]);
    let name = directory.and_then(|directory| directory.strip_suffix(UPLOADS));
    repository(prefix, name).map_or(Route::Other, Route::Upload)
}

/// `…/blobs/<digest>` names a layer of a repository.
fn blob(prefix: &str, path: &str) -> Option<BlobRef> {
    let (directory, digest) = path.rsplit_once('/')?;
    Some(BlobRef {
        digest: Digest::parse(digest).ok()?,
        repository: repository(prefix, directory.strip_suffix("/blobs"))?,
    })
}

/// Like [`blob`], but however the path is written. In none of the ways in which a registry may
/// read it does a HEAD bring the deleted layer back.
fn deleted(prefix: &str, target: &[u8]) -> Option<BlobRef> {
    let path = target.split(|byte| *byte == b'?').next()?;
    let path = percent_decode(path).decode_utf8().ok()?;
    // Of `http://host/path` only the path matters (RFC 9112, 3.2.2).
    let path = match path.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('/') => match rest.strip_prefix("//") {
            Some(rest) => &rest[rest.find('/')?..],
            None => rest,
        },
        _ => &*path,
    };
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    blob(prefix, &format!("/{}", parts.join("/")))
}

/// The repository between the API's prefix and the rest of a path; no escape is decoded.
fn repository(prefix: &str, path: Option<&str>) -> Option<RepositoryName> {
    let name = path?.strip_prefix(prefix)?.strip_prefix("v2/")?;
    RepositoryName::parse(name).ok()
}

#[cfg(test)]
mod tests;
