//! Who got the registry's challenge for which repositories within the last minute.

use std::time::{Duration, Instant};

use dashmap::DashMap;
use sha2::{Digest as _, Sha256};

use crate::oci::RepositoryName;

/// How long a challenge is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// The most challenges that are remembered; beyond, none is added until some are over.
const BOUND: usize = 16 * 1024;

/// A subject and a pair of repositories, hashed: nothing of a credential is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChallengeKey([u8; 32]);

impl ChallengeKey {
    /// Of a token's subject, or of the whole token where it names none.
    pub(super) fn new(subject: &str, target: &RepositoryName, source: &RepositoryName) -> Self {
        let mut hash = Sha256::new();
        for part in [subject, target.as_str(), source.as_str()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

#[derive(Debug, Default)]
pub(super) struct Challenged(DashMap<ChallengeKey, Instant>);

impl Challenged {
    pub fn remember(&self, key: ChallengeKey) {
        if self.0.len() >= BOUND {
            self.0.retain(|_, since| since.elapsed() < REMEMBERED);
        }
        if self.0.len() < BOUND {
            self.0.insert(key, Instant::now());
        }
    }

    pub fn contains(&self, key: &ChallengeKey) -> bool {
        self.0
            .get(key)
            .is_some_and(|since| since.elapsed() < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(subject: &str, target: &str, source: &str) -> ChallengeKey {
        let name = |text| RepositoryName::parse(text).unwrap();
        ChallengeKey::new(subject, &name(target), &name(source))
    }

    #[test]
    fn a_challenge_is_remembered_for_its_subject_and_pair_alone() {
        let challenged = Challenged::default();
        challenged.remember(key("alice", "dst", "src"));
        assert!(challenged.contains(&key("alice", "dst", "src")));
        assert!(!challenged.contains(&key("bob", "dst", "src")));
        assert!(!challenged.contains(&key("alice", "src", "dst")));
        assert!(!challenged.contains(&key("aliced", "st", "src")));
    }

    #[test]
    fn the_memory_is_bounded() {
        let challenged = Challenged::default();
        for number in 0..BOUND + 10 {
            challenged.remember(key(&number.to_string(), "dst", "src"));
        }
        assert_eq!(challenged.0.len(), BOUND);
    }
}
