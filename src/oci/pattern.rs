//! Patterns of repository names.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::oci::name::RepositoryName;

/// A set of patterns: `base/*` is one part below `base`, `base/**` everything below it.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    set: GlobSet,
    texts: Vec<String>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Characters other than those of names and `*`.
    #[error("{0:?} is not a pattern: it may hold the characters of a repository name and *")]
    Letters(String),
    /// A `*` in a place without meaning.
    #[error("{0:?} is not a pattern such as base/* or base/**")]
    Stars(String),
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl Patterns {
    /// Parses all of them; an error names the first that is no pattern.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        let mut set = GlobSetBuilder::new();
        let mut kept = Vec::new();
        for text in texts {
            let is_plain =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/*".contains(&b);
            if text.is_empty() || !text.bytes().all(is_plain) {
                return Err(PatternError::Letters(text.to_owned()));
            }
            let stars = |_| PatternError::Stars(text.to_owned());
            let glob = GlobBuilder::new(text).literal_separator(true).build();
            set.add(glob.map_err(stars)?);
            kept.push(text.to_owned());
        }
        let whole = |_| PatternError::Stars(String::new());
        let set = set.build().map_err(whole)?;
        Ok(Self { set, texts: kept })
    }

    /// Whether one of them matches.
    pub fn matches(&self, name: &RepositoryName) -> bool {
        self.set.is_match(name.as_str())
    }

    /// The patterns as they were written.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_part_and_two_are_all_below() {
        for (pattern, name, matches) in [
            ("base/*", "base/a", true),
            ("base/*", "base/a/b", false),
            ("base/*", "base", false),
            ("base/*", "other/base/a", false),
            ("base/**", "base/a/b", true),
            ("base/**", "base", false),
            ("base/**", "based/a", false),
            ("base", "base", true),
            ("base", "base/a", false),
            ("team-*/os", "team-a/os", true),
            ("team-*/os", "team-a/b/os", false),
            ("*", "a", true),
            ("**", "a/b", true),
        ] {
            let patterns = Patterns::parse([pattern]).unwrap();
            let name = RepositoryName::parse(name).unwrap();
            assert_eq!(patterns.matches(&name), matches, "{pattern} {name}");
        }
        let none = Patterns::parse([]).unwrap();
        assert!(none.is_empty() && !none.matches(&RepositoryName::parse("a").unwrap()));
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        for wrong in [
            "",
            "Base/*",
            "a b",
            "base/{a,b}",
            "base/?",
            "base/[ab]",
            "!a",
            "a\\*",
        ] {
            let error = Patterns::parse(["ok", wrong]).unwrap_err();
            assert_eq!(error, PatternError::Letters(wrong.to_owned()));
        }
    }
}
