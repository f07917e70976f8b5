//! Callers that got the registry's challenge for two repositories within the last minute.

use std::time::{Duration, Instant};

use dashmap::DashMap;

use crate::util::Fingerprint;

/// How long a challenge counts.
const REMEMBERED: Duration = Duration::from_secs(60);
/// The most challenges that are kept; beyond that, none is added until some expire.
const BOUND: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(crate) struct RecentChallenges(DashMap<Fingerprint, Instant>);

impl RecentChallenges {
    pub fn record(&self, key: Fingerprint) {
        if self.0.len() >= BOUND {
            self.0.retain(|_, since| since.elapsed() < REMEMBERED);
        }
        if self.0.len() < BOUND {
            self.0.insert(key, Instant::now());
        }
    }

    pub fn contains(&self, key: &Fingerprint) -> bool {
        self.0
            .get(key)
            .is_some_and(|since| since.elapsed() < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::Fingerprints;

    #[test]
    fn a_challenge_is_recorded_for_its_own_request_alone() {
        let (recent_challenges, prints) =
            (RecentChallenges::default(), Fingerprints::new().unwrap());
        recent_challenges.record(prints.fingerprint(&[b"alice", b"dst", b"src"]));
        assert!(recent_challenges.contains(&prints.fingerprint(&[b"alice", b"dst", b"src"])));
        assert!(!recent_challenges.contains(&prints.fingerprint(&[b"bob", b"dst", b"src"])));
    }

    #[test]
    fn the_number_of_challenges_is_bounded() {
        let (recent_challenges, prints) =
            (RecentChallenges::default(), Fingerprints::new().unwrap());
        for number in 0..BOUND + 10 {
            recent_challenges.record(prints.fingerprint(&[&number.to_be_bytes()]));
        }
        assert_eq!(recent_challenges.0.len(), BOUND);
    }
}
