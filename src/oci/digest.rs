//! Content digests: `sha256:` and 64 digits.

use std::fmt;

/// The prefix of every digest that crossmount handles.
const PREFIX: &str = "sha256:";
/// The number of hexadecimal digits of a SHA-256.
const HEX_LENGTH: usize = 64;

/// The SHA-256 of no bytes.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A digest `sha256:<64 lower-case hexadecimal digits>`.
///
/// Other algorithms of the specification are not represented on purpose. The registry stores a
/// sha512 upload under its sha256, and a mount by sha512 leaves a dangling link
/// (`registry/storage/linkedblobstore.go`). So such requests are forwarded.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest(Box<str>);

/// Why a text is not a digest that crossmount handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Another algorithm, or no algorithm at all.
    #[error("not a sha256 digest")]
    Algorithm,
    /// Not exactly 64 lower-case hexadecimal digits.
    #[error("not 64 lower-case hexadecimal digits")]
    Hex,
}

impl Digest {
    /// Parses the specification's text form.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix(PREFIX).ok_or(DigestError::Algorithm)?;
        let digits = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != HEX_LENGTH || !digits {
            return Err(DigestError::Hex);
        }
        Ok(Self(text.into()))
    }

    /// The digest with this SHA-256.
    pub fn of_hash(hash: &[u8; 32]) -> Self {
        let mut text = PREFIX.to_owned();
        for byte in hash {
            for digit in [byte >> 4, byte & 0xf] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        Self(text.into())
    }

    /// The whole text, 71 bytes: the content of a layer link.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 32 bytes of the SHA-256.
    pub fn bytes(&self) -> [u8; 32] {
        let value = |digit: u8| match digit {
            b'0'..=b'9' => digit - b'0',
            // The parser left only a to f.
            _ => digit.wrapping_sub(b'a').wrapping_add(10),
        };
        let digits = self.hex().as_bytes();
        std::array::from_fn(|at| value(digits[2 * at]) << 4 | value(digits[2 * at + 1]))
    }

    /// Whether it is the digest of bytes with this SHA-256.
    pub fn names(&self, hash: &[u8]) -> bool {
        self.bytes() == hash
    }

    /// Whether it is the digest of no bytes: only that blob is complete while it is empty.
    pub fn names_nothing(&self) -> bool {
        self.hex() == OF_NOTHING
    }

    /// The 64 hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
impl Digest {
    /// The digest of some bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        let hash = sha2::Sha256::digest(bytes);
        let hex: Vec<_> = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::parse(&format!("sha256:{}", hex.concat())).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";

    #[test]
    fn one_digest_names_nothing() {
        assert!(Digest::of(b"").names_nothing());
        assert!(!Digest::of(b"\0").names_nothing());
    }

    #[test]
    fn a_sha256_digest_is_seventy_one_bytes() {
        let digest = Digest::parse(&format!("sha256:{HEX}")).unwrap();
        assert_eq!(digest.as_str().len(), 71);
        assert_eq!(digest.hex(), HEX);
    }

    #[test]
    fn a_digest_names_its_hash_alone() {
        let digest = Digest::parse(&format!("sha256:{}", "0f".repeat(32))).unwrap();
        assert!(digest.names(&[15; 32]));
        let all = Digest::parse(&format!("sha256:{}", "0123456789abcdef".repeat(4))).unwrap();
        let eight = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        assert_eq!(all.bytes(), *eight.repeat(4));
        assert!(!digest.names(&[15; 31]));
        assert!(!digest.names(&[]));
        let mut other = [15; 32];
        other[31] = 14;
        assert!(!digest.names(&other));
    }

    #[test]
    fn everything_else_is_refused() {
        let upper = HEX.to_uppercase();
        for (text, why) in [
            (format!("sha512:{HEX}{HEX}"), DigestError::Algorithm),
            (format!("SHA256:{HEX}"), DigestError::Algorithm),
            (HEX.to_owned(), DigestError::Algorithm),
            (String::new(), DigestError::Algorithm),
            (format!("sha256:{upper}"), DigestError::Hex),
            (format!("sha256:{}", &HEX[1..]), DigestError::Hex),
            (format!("sha256:{HEX}0"), DigestError::Hex),
            (format!("sha256:{}\n", &HEX[1..]), DigestError::Hex),
            (format!("sha256:../{}", &HEX[3..]), DigestError::Hex),
        ] {
            assert_eq!(Digest::parse(&text), Err(why), "{text:?}");
        }
    }
}
