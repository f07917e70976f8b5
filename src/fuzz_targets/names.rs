//! Names, patterns and digests are exactly those of the grammar.

use crate::fuzz_targets::input::Input;
use crate::oci::Patterns;
use crate::oci::digest::{Digest, DigestError};
use crate::oci::name::{NameError, RepositoryName};

/// Separators that never occur within a component: too many, or different ones.
const ODD: &[&str] = &[
    "..", "._", ".-", "_.", "-.", "_-", "-_", "___", // two that differ, or too many
];

/// Two names, and a pattern for the first.
pub fn names(input: &[u8]) -> bool {
    let mut input = Input::new(input);
    let (Some(text), Some(other)) = (input.text(), input.text()) else {
        return false;
    };
    let parsed = RepositoryName::parse(text);
    let is_long = text.len() > 255;
    let is_named = !is_long && text.split('/').all(is_component);
    let is_identifier = is_named && text.len() == 64 && text.bytes().all(is_hex);
    match &parsed {
        Ok(name) => {
            assert!(is_named && !is_identifier, "{text:?}");
            assert_eq!(name.as_str(), text);
            assert_eq!(name.to_string(), text);
            assert_eq!(name.is_mountable(), text.len() <= 245);
        }
        Err(NameError::TooLong) => assert!(is_long),
        Err(NameError::Identifier) => assert!(is_identifier, "{text:?}"),
        Err(NameError::Component) => assert!(!is_long && !is_named, "{text:?}"),
    }
    let Ok(name) = parsed else {
        return false;
    };
    if let Ok(other) = RepositoryName::parse(other) {
        relations(&name, &other);
    }
    if let Ok(pattern) = std::str::from_utf8(input.rest()) {
        matches(&name, pattern);
    }
    true
}

/// A digest.
pub fn digests(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else {
        return false;
    };
    let (algorithm, hex) = text.split_at_checked(7).unwrap_or(("", text));
    let is_digest = text.len() == 71 && algorithm == "sha256:" && hex.bytes().all(is_hex);
    match Digest::parse(text) {
        Ok(digest) => {
            assert!(is_digest, "{text:?}");
            assert_eq!(digest.as_str(), text);
            assert_eq!(digest.hex(), hex);
            for (at, byte) in digest.bytes().iter().enumerate() {
                assert_eq!(format!("{byte:02x}"), hex[2 * at..2 * at + 2]);
            }
            assert!(digest.names(&digest.bytes()));
            assert!(!digest.names(&digest.bytes()[1..]));
        }
        Err(DigestError::Algorithm) => assert_ne!(algorithm, "sha256:"),
        Err(DigestError::Hex) => assert!(!is_digest && algorithm == "sha256:", "{text:?}"),
    }
    is_digest
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && text.chars().all(|c| is_word(c) || "._-".contains(c))
        && !ODD.iter().any(|odd| text.contains(odd))
}

fn relations(name: &RepositoryName, other: &RepositoryName) {
    let parts = |name: &RepositoryName| -> Vec<String> {
        name.as_str().split('/').map(str::to_owned).collect()
    };
    let (parts, others) = (parts(name), parts(other));
    assert_eq!(name.is_below(other), parts.starts_with(&others));
    assert_eq!(
        name.is_beside(other),
        name.is_beside(name) && other.is_beside(other) && parts[0] == others[0]
    );
    let namespace = (parts.len() > 1).then(|| parts[0].as_str());
    assert_eq!(name.namespace(), namespace);
}

/// Only the stars that the documentation describes have a meaning.
fn matches(name: &RepositoryName, pattern: &str) {
    let Ok(patterns) = Patterns::parse([pattern]) else {
        return;
    };
    assert_eq!(patterns.texts(), [pattern]);
    let wanted = match pattern.strip_suffix("/**") {
        Some(directory) if !directory.contains('*') => {
            let rest = name.as_str().strip_prefix(directory);
            rest.is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
        }
        _ if pattern.contains("**") => return,
        _ => is_like(pattern.as_bytes(), name.as_str().as_bytes()),
    };
    assert_eq!(patterns.matches(name), wanted, "{pattern} {name}");
}

/// Whether a star can stand for something without a slash.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    // The place of the last star, and the end of what it stands for so far.
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((place, end)) if text[end] != b'/' => {
                    star = Some((place, end + 1));
                    (at, from) = (place + 1, end + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}
