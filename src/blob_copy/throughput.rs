//! Estimates the throughput of copies from the last ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MIB: u64 = 1024 * 1024;
/// The first estimate, in bytes a second: less than half of what a small machine does.
const AT_FIRST: u64 = 32 * MIB;
/// The lowest estimate, or no copy would be tried again.
const SLOWEST: u64 = MIB;
/// Only blobs of at least this size change it: the time of smaller ones is that of the requests.
const TELLING: u64 = MIB;

/// The estimate, in bytes a second.
#[derive(Debug)]
pub(crate) struct ThroughputEstimate(AtomicU64);

impl Default for ThroughputEstimate {
    fn default() -> Self {
        Self(AtomicU64::new(AT_FIRST))
    }
}

impl ThroughputEstimate {
    /// Whether a blob of this size would be copied in this time.
    pub(crate) fn fits(&self, size: u64, time: Duration) -> bool {
        let milliseconds = u128::from(size) * 1000 / u128::from(self.0.load(Ordering::Relaxed));
        milliseconds <= time.as_millis()
    }

    /// Records that a blob took this time, or was not complete after it.
    pub(crate) fn record(&self, size: u64, took: Duration) {
        if size < TELLING {
            return;
        }
        let seen = u128::from(size) * 1000 / took.as_millis().max(1);
        let seen = u64::try_from(seen).unwrap_or(u64::MAX);
        let before = self.0.load(Ordering::Relaxed);
        let after = (before / 2 + seen / 2).max(SLOWEST);
        self.0.store(after, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn what_would_take_longer_than_there_is_time_is_not_begun() {
        let pace = ThroughputEstimate::default();
        assert!(pace.fits(320 * MIB, TEN));
        assert!(!pace.fits(321 * MIB, TEN));
        assert!(!pace.fits(1, Duration::ZERO) || pace.fits(0, Duration::ZERO));
    }

    #[test]
    fn a_slow_disk_is_learned_and_never_given_up() {
        let pace = ThroughputEstimate::default();
        for _ in 0..20 {
            pace.record(4 * MIB, TEN);
        }
        assert!(!pace.fits(11 * MIB, TEN));
        assert!(pace.fits(9 * MIB, TEN));
        pace.record(10, TEN);
        assert!(pace.fits(9 * MIB, TEN));
        for _ in 0..20 {
            pace.record(400 * MIB, TEN);
        }
        assert!(pace.fits(300 * MIB, TEN));
    }
}
