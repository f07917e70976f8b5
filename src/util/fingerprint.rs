//! Cache keys from which no credential can be read back.

use std::fmt;

use ring::{hmac, rand::SystemRandom};

/// Makes fingerprints that are only valid in this process.
#[derive(Clone)]
pub struct Fingerprints(hmac::Key);

/// HMAC-SHA-256 of a credential and the request that it was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system returns no random bytes: see getrandom(2)")]
pub struct NoRandomness;

impl Fingerprints {
    /// Takes a new random key.
    pub fn new() -> Result<Self, NoRandomness> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map(Self)
            .map_err(|_| NoRandomness)
    }

    /// Takes a key that other processes have too: equal parts have one fingerprint in all of them.
    pub fn with_key(key: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))
    }

    /// The fingerprint of parts in their order; their boundaries count too.
    pub fn fingerprint(&self, parts: &[&[u8]]) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        Fingerprint(bytes)
    }
}

impl Fingerprint {
    /// One that another process made.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprints")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_have_one_fingerprint_in_one_process_only() {
        let (one, other) = (Fingerprints::new().unwrap(), Fingerprints::new().unwrap());
        assert_eq!(
            one.fingerprint(&[b"a", b"b"]),
            one.fingerprint(&[b"a", b"b"])
        );
        assert_ne!(
            one.fingerprint(&[b"a", b"b"]),
            other.fingerprint(&[b"a", b"b"])
        );
    }

    #[test]
    fn processes_with_one_key_have_one_fingerprint() {
        let print = |key| Fingerprints::with_key(key).fingerprint(&[b"a"]);
        assert_eq!(print("key"), print("key"));
        assert_ne!(print("key"), print("other"));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let prints = Fingerprints::new().unwrap();
        let whole = prints.fingerprint(&[b"ab", b"c"]);
        for parts in [
            &[&b"a"[..], b"bc"][..],
            &[b"abc"],
            &[b"ab", b"c", b""],
            &[b"c", b"ab"],
        ] {
            assert_ne!(prints.fingerprint(parts), whole);
        }
    }
}
