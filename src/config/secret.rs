//! Values that are never shown.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// The text that replaces a masked value.
pub(super) const MASK: &str = "(masked)";

/// A value that may be a credential: it is used, and never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// The value, for its use.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(MASK)
    }
}

/// The text with `user:password@` of a URL masked. Settings that are URLs have no login, but a name
/// such as a token's issuer may be any text.
pub(crate) fn without_login(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{MASK}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// A URL with everything behind its host masked.
pub(super) fn host_of(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    match url[start..].find(['/', '?', '#']) {
        Some(end) if start + end + 1 < url.len() => format!("{}/{MASK}", &url[..start + end]),
        _ => url.to_owned(),
    }
}
