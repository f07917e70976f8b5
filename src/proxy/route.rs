//! What a request is: a mount that may be answered here, or something for the registry.
//!
//! A pure function of the request's head. It takes for a mount only what the registry and
//! crossmount cannot read differently; whatever is odd in any way is the registry's.

#[cfg(test)]
mod agreement;
#[cfg(feature = "micro")]
pub(crate) mod measured;
#[cfg(any(test, fuzzing))]
pub(crate) mod model;

use http::request::Parts;
use http::{Method, Version, header};
use percent_encoding::percent_decode;

use crate::mount::MountRequest;
use crate::oci::{BlobRef, Digest, RepositoryName};
use crate::util::query::{QueryPair, has_key, pairs};

/// What follows a repository's name in the path of a new upload.
pub(crate) const UPLOADS: &str = "/blobs/uploads/";

/// What a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// A mount in the plain form.
    Mount(MountRequest),
    /// It names a mount, but not in the plain form.
    AmbiguousMount(Ambiguity),
    /// A mount that names no source.
    SourcelessMount(BlobRef),
    /// The start or the end of an upload into a repository.
    Upload(RepositoryName),
    /// A layer of a repository is asked for.
    Blob(BlobRef),
    /// A layer of a repository is deleted.
    Deletion(BlobRef),
    /// Anything else.
    Other,
}

/// What keeps a request that names a mount from having the plain form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ambiguity {
    /// Words in the query: only the registry can judge them, but its answer may be mended.
    Words,
    /// A body, the path, a header, or the digest of an upload: it may be no mount at all.
    Form,
}

/// Classifies a request by its head; `target` is the request line's target as it came, and
/// `prefix` the registry's own, with slashes at both ends.
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

/// The mount that a query without oddities names.
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

/// No body, and nothing in the head that two readers could take differently.
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

/// Headers that a client may name as a matter of its own connection: crossmount reads none of them.
const CONNECTION_OPTIONS: &[&str] = &[
    "close",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// Whether no header that crossmount reads is one for the next hop alone: such a header would not
/// reach the registry.
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

/// `PUT …/blobs/uploads/<identifier>` ends an upload.
fn completed_upload(prefix: &str, path: &str) -> Route {
    let directory = path.rfind('/').map(|slash| &path[..=slash]);
    let name = directory.and_then(|directory| directory.strip_suffix(UPLOADS));
    repository(prefix, name).map_or(Route::Other, Route::Upload)
}

/// `…/blobs/<digest>` is a layer of a repository.
fn blob(prefix: &str, path: &str) -> Option<BlobRef> {
    let (directory, digest) = path.rsplit_once('/')?;
    Some(BlobRef {
        digest: Digest::parse(digest).ok()?,
        repository: repository(prefix, directory.strip_suffix("/blobs"))?,
    })
}

/// As [`blob`], however the path is written: none of the ways in which some registry reads it may
/// bring back what was deleted.
fn deleted(prefix: &str, target: &[u8]) -> Option<BlobRef> {
    let path = target.split(|byte| *byte == b'?').next()?;
    let path = percent_decode(path).decode_utf8().ok()?;
    // From `http://host/path` only the path matters (RFC 9112, 3.2.2).
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

/// The repository between the API's base and the rest of a path; no escape is decoded.
fn repository(prefix: &str, path: Option<&str>) -> Option<RepositoryName> {
    let name = path?.strip_prefix(prefix)?.strip_prefix("v2/")?;
    RepositoryName::parse(name).ok()
}

#[cfg(test)]
mod tests;
