//! Repository names by distribution's grammar.

use std::fmt;

/// The longest name that distribution accepts, in bytes (`reference.NameTotalLengthMax`).
const MAX_LENGTH: usize = 255;
/// The length of what its cache puts before a name, in bytes.
const CACHE_DOMAIN: usize = "docker.io/".len();

/// A repository name by distribution's grammar: components joined by `/`.
///
/// A component is lower-case letters and digits, with `.`, `_`, `__` or a run of
/// `-` between them (`reference/regexp.go`). Such a name has no dot segment and
/// no empty component, so it is safe as part of a path.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RepositoryName(Box<str>);

/// Why a text is not a repository name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than 255 bytes.
    #[error("longer than 255 bytes")]
    TooLong,
    /// A component is outside the grammar.
    #[error("a component is not lower-case letters and digits with single separators")]
    Component,
    /// 64 hexadecimal digits alone, which the registry takes for an image's identifier.
    #[error("a name cannot be 64 hexadecimal digits alone")]
    Identifier,
}

impl RepositoryName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_LENGTH {
            return Err(NameError::TooLong);
        }
        if !text.split('/').all(is_component) {
            return Err(NameError::Component);
        }
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NameError::Identifier);
        }
        Ok(Self(text.into()))
    }

    /// Whether distribution can mount from it and into it. Its blob cache puts a domain of ten
    /// characters before a name, and refuses what is then too long
    /// (`registry/storage/cache/memory`).
    pub fn is_mountable(&self) -> bool {
        self.0.len() + CACHE_DOMAIN <= MAX_LENGTH
    }

    /// The name as it was parsed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first component, whose owner owns the repository; `None` if there is only one.
    pub fn namespace(&self) -> Option<&str> {
        self.0.split_once('/').map(|(namespace, _)| namespace)
    }

    /// Whether it is `path`, or begins with its components.
    pub fn is_below(&self, path: &Self) -> bool {
        let rest = self.0.strip_prefix(path.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether both have the same first component.
    pub fn is_beside(&self, other: &Self) -> bool {
        self.namespace().is_some() && self.namespace() == other.namespace()
    }
}

fn is_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    is_word(first)
        && is_word(last)
        && bytes
            .chunk_by(|&a, &b| is_word(a) == is_word(b))
            .all(|run| is_word(run[0]) || is_separator(run))
}

fn is_separator(run: &[u8]) -> bool {
    matches!(run, b"." | b"_" | b"__") || run.iter().all(|&b| b == b'-')
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_the_grammar_are_taken() {
        for name in [
            "a",
            "a/b/c",
            "manifests",
            "blobs/uploads",
            "a__b",
            "a---b",
            "a.b_c-d/0",
            "uploads",
        ] {
            assert_eq!(RepositoryName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_outside_the_grammar_are_refused() {
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "a/../b",
            ".",
            "a/.",
            "_layers",
            "a/_layers",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "a-_b",
            "A",
            "aB",
            "a b",
            "a%2fb",
            "a\\b",
            "a\0",
            "ä",
            "a\n",
        ] {
            assert_eq!(
                RepositoryName::parse(name),
                Err(NameError::Component),
                "{name:?}"
            );
        }
    }

    #[test]
    fn length_and_identifiers_have_their_own_reasons() {
        let longest = "a".repeat(MAX_LENGTH);
        assert!(RepositoryName::parse(&longest).is_ok());
        assert_eq!(
            RepositoryName::parse(&format!("{longest}a")),
            Err(NameError::TooLong)
        );
        let identifier = "0123456789abcdef".repeat(4);
        assert_eq!(
            RepositoryName::parse(&identifier),
            Err(NameError::Identifier)
        );
        assert!(RepositoryName::parse(&format!("x/{identifier}")).is_ok());
    }

    proptest! {
        #[test]
        fn no_name_can_leave_its_directory(text in "[a-z0-9._/-]{0,40}") {
            if let Ok(name) = RepositoryName::parse(&text) {
                for part in name.as_str().split('/') {
                    prop_assert!(!part.is_empty() && part != "." && part != ".." && !part.starts_with('_'));
                }
            }
        }
    }
}
