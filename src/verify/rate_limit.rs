//! Limits how fast blobs are read.

use std::time::{Duration, Instant};

/// The largest chunk that is read at once, in bytes.
const LARGEST: u64 = 256 * 1024;
/// The least number of chunks a second, so that a low rate is an even one.
const CHUNKS: u64 = 10;
const NANOSECONDS: u128 = 1_000_000_000;

/// Each chunk costs time; idle time is not saved up.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    rate: u64,
    /// When the time for all that was read has passed.
    paid: Instant,
}

impl RateLimiter {
    /// At most `rate` bytes a second, from now on.
    pub(crate) fn new(rate: u64, now: Instant) -> Self {
        Self { rate, paid: now }
    }

    /// The size of a chunk, in bytes.
    pub(crate) fn chunk(&self) -> usize {
        let chunk = (self.rate / CHUNKS).clamp(1, LARGEST);
        usize::try_from(chunk).unwrap_or(1)
    }

    /// Takes so many bytes; returns how long to wait before they are read.
    pub(crate) fn take(&mut self, bytes: usize, now: Instant) -> Duration {
        let begin = self.paid.max(now);
        let price = (bytes as u128 * NANOSECONDS).div_ceil(u128::from(self.rate.max(1)));
        let price = Duration::from_nanos(u64::try_from(price).unwrap_or(u64::MAX));
        self.paid = begin.checked_add(price).unwrap_or(begin);
        begin - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn no_more_than_the_rate_is_read_in_any_second() {
        for rate in [1, 7, 1024, 3_000_000, 64 << 20, 1 << 40] {
            let begin = Instant::now();
            let (mut now, mut read) = (begin, 0);
            let mut limiter = RateLimiter::new(rate, now);
            let chunk = limiter.chunk();
            let paid = |now: Instant| now.duration_since(begin).as_nanos() * u128::from(rate);
            while now < begin + 10 * SECOND && read < 1 << 30 {
                now += limiter.take(chunk, now);
                read += chunk as u128;
                // One chunk ahead.
                let unpaid = read - chunk as u128;
                assert!(unpaid * NANOSECONDS <= paid(now), "{rate} {read}");
            }
            assert!(10 * read * NANOSECONDS >= 9 * paid(now), "{rate} {read}");
        }
    }

    #[test]
    fn nothing_is_saved_up_in_idle_times() {
        let begin = Instant::now();
        let mut limiter = RateLimiter::new(1000, begin);
        assert_eq!(limiter.take(100, begin), Duration::ZERO);
        let later = begin + 60 * SECOND;
        assert_eq!(limiter.take(100, later), Duration::ZERO);
        assert_eq!(limiter.take(100, later), SECOND / 10);
        assert_eq!(limiter.take(100, later), SECOND / 5);
    }

    #[test]
    fn a_chunk_is_a_tenth_of_a_second_and_never_large_or_nothing() {
        let chunk = |rate| RateLimiter::new(rate, Instant::now()).chunk();
        assert_eq!(chunk(1), 1);
        assert_eq!(chunk(1000), 100);
        assert_eq!(chunk(u64::MAX), 256 * 1024);
    }
}
