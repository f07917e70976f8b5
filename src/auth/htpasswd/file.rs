//! The registry's htpasswd file, read as distribution reads it.

use std::collections::HashMap;

/// The longest line, in bytes (Go's `bufio.MaxScanTokenSize`).
const LONGEST_LINE: usize = 64 * 1024;

/// The users of an htpasswd file.
#[derive(Debug, Default)]
pub(crate) struct Users(HashMap<Vec<u8>, UserEntry>);

/// A user's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserEntry {
    /// A bcrypt hash.
    Bcrypt(String),
    /// What distribution may take for a bcrypt hash and the library does not.
    Unjudged,
    /// What no password matches.
    Unusable,
}

impl Users {
    /// Reads a file by distribution's rules (`registry/auth/htpasswd/htpasswd.go`): the last entry
    /// of a name counts, and `#` begins a comment.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut users = HashMap::new();
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let number = number + 1;
            if line.len() >= LONGEST_LINE {
                return Err(format!("line {number} is too long"));
            }
            let line = line.trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let colon = line.iter().position(|byte| *byte == b':');
            let colon = colon.ok_or_else(|| format!("line {number} is no user:password entry"))?;
            users.insert(
                line[..colon].to_vec(),
                UserEntry::parse_hash(&line[colon + 1..]),
            );
        }
        Ok(Self(users))
    }

    pub(crate) fn get(&self, user: &[u8]) -> Option<&UserEntry> {
        self.0.get(user)
    }

    /// Some user's hash: the check of an unknown name takes as long as that of a known one.
    pub(crate) fn any_hash(&self) -> Option<&str> {
        self.0.values().find_map(|entry| match entry {
            UserEntry::Bcrypt(hash) => Some(hash.as_str()),
            UserEntry::Unjudged | UserEntry::Unusable => None,
        })
    }
}

impl UserEntry {
    fn parse_hash(hash: &[u8]) -> Self {
        let text = std::str::from_utf8(hash).unwrap_or_default();
        if is_supported_bcrypt(text) && text.parse::<bcrypt::HashParts>().is_ok() {
            Self::Bcrypt(text.to_owned())
        } else if hash.starts_with(b"$") {
            Self::Unjudged
        } else {
            Self::Unusable
        }
    }
}

/// Whether a bcrypt hash has the common form: a version still in use, two digits of a possible
/// cost, salt and hash.
fn is_supported_bcrypt(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    let mut parts = text.split('$');
    let (nothing, version, cost) = (parts.next(), parts.next(), parts.next());
    nothing == Some("")
        && version.is_some_and(|version| matches!(version, "2a" | "2b" | "2y"))
        && cost.is_some_and(|cost| {
            matches!(
                cost.as_bytes(),
                [b'0', b'4'..=b'9'] | [b'1' | b'2', b'0'..=b'9'] | [b'3', b'0' | b'1']
            )
        })
        && parts.next().is_some_and(|rest| rest.bytes().all(is_letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$04$abcdefghijklmnopqrstuu5kJ2Hc8kYPhpCBAXLDMKzyOdUEOx8Sa";

    #[test]
    fn the_last_entry_of_a_name_counts_and_comments_do_not() {
        let text = format!("# staff\n\n  alice:x\r\nalice:{HASH}\nbob:{{SHA}}abc\n:{HASH}\n");
        let users = Users::parse(text.as_bytes()).unwrap();
        assert_eq!(
            users.get(b"alice"),
            Some(&UserEntry::Bcrypt(HASH.to_owned()))
        );
        assert_eq!(users.get(b"bob"), Some(&UserEntry::Unusable));
        assert_eq!(users.get(b""), Some(&UserEntry::Bcrypt(HASH.to_owned())));
        assert_eq!(users.get(b"carol"), None);
        assert_eq!(users.any_hash(), Some(HASH));
    }

    #[test]
    fn hashes_that_only_distribution_may_take_are_left_to_it() {
        for hash in [
            HASH.replace("2y", "2x"),
            format!("{HASH}a"),
            HASH.replace("$04$", "$4$"),
            HASH.replace("$04$", "$+4$"),
            HASH.replace("$04$", "$03$"),
            HASH.replace("$04$", "$32$"),
            HASH.replace("abc", "a!c"),
            "$apr1$abc$def".to_owned(),
        ] {
            assert_eq!(
                UserEntry::parse_hash(hash.as_bytes()),
                UserEntry::Unjudged,
                "{hash}"
            );
        }
        for hash in ["", "plain", "{SHA}abc"] {
            assert_eq!(
                UserEntry::parse_hash(hash.as_bytes()),
                UserEntry::Unusable,
                "{hash}"
            );
        }
    }

    #[test]
    fn a_line_without_a_colon_is_named() {
        let error = Users::parse(b"alice:x\nbob\n").unwrap_err();
        assert_eq!(error, "line 2 is no user:password entry");
        assert!(Users::parse(b"").is_ok());
    }
}
