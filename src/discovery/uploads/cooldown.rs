//! What is not waited for, because a HEAD waited for it in vain.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The most keys that are kept. Beyond that, nothing is waited for.
const MOST: usize = 16 * 1024;

/// Keys that count for a while.
#[derive(Debug)]
pub(super) struct Cooldown<K> {
    lasts: Duration,
    since: HashMap<K, Instant>,
    /// Every key counts until then.
    full_until: Option<Instant>,
}

impl<K: Eq + Hash> Cooldown<K> {
    pub(super) fn lasting(lasts: Duration) -> Self {
        Self {
            lasts,
            since: HashMap::new(),
            full_until: None,
        }
    }

    pub(super) fn begin(&mut self, key: K) {
        if self.since.len() >= MOST {
            let lasts = self.lasts;
            self.since.retain(|_, since| since.elapsed() < lasts);
        }
        if self.since.len() >= MOST {
            self.full_until = Some(Instant::now() + self.lasts);
        } else {
            self.since.insert(key, Instant::now());
        }
    }

    pub(super) fn has(&self, key: &K) -> bool {
        let is_full = self.full_until.is_some_and(|until| Instant::now() < until);
        let since = self.since.get(key);
        is_full || since.is_some_and(|since| since.elapsed() < self.lasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_for_a_while() {
        let mut long = Cooldown::lasting(Duration::from_secs(60));
        long.begin(1);
        assert!(long.has(&1) && !long.has(&2));
        let mut short = Cooldown::lasting(Duration::from_millis(50));
        short.begin(1);
        std::thread::sleep(Duration::from_millis(60));
        assert!(!short.has(&1));
    }

    #[test]
    fn beyond_the_bound_every_key_counts() {
        let mut cooldown = Cooldown::lasting(Duration::from_secs(60));
        for key in 0..=MOST {
            cooldown.begin(key);
        }
        assert!(cooldown.since.len() <= MOST && cooldown.has(&usize::MAX));
    }
}
