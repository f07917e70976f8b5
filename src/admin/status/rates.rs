//! Requests and mounts per second over the last five minutes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back the rates look.
const WINDOW: Duration = Duration::from_secs(5 * 60);

/// The counters of requests and of mounts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub requests: u64,
    pub mounts: u64,
}

/// Rates over the time that they look back, which is shorter after a start.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Rates {
    pub window_seconds: f64,
    pub requests_per_second: f64,
    pub mounts_per_second: f64,
}

/// Samples of the last five minutes, and the one before them.
#[derive(Debug)]
pub(crate) struct RecentCounts(VecDeque<(Instant, Counted)>);

impl RecentCounts {
    /// Begins with counters at zero.
    pub(crate) fn new(now: Instant) -> Self {
        Self([(now, Counted::default())].into())
    }

    /// Keeps a sample. Only the timer does so, which bounds their number.
    pub(crate) fn sample(&mut self, now: Instant, counted: Counted) {
        self.0.push_back((now, counted));
        let is_old = |(at, _): &(Instant, Counted)| now.duration_since(*at) >= WINDOW;
        while self.0.get(1).is_some_and(is_old) {
            self.0.pop_front();
        }
    }

    /// The number of samples.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The rates until now; zero at the very start.
    #[allow(
        clippy::cast_precision_loss,
        reason = "shown with three digits; counts stay far below 2^52"
    )]
    pub(crate) fn rates(&self, now: Instant, counted: Counted) -> Rates {
        let (start, before) = self.0.front().copied().unwrap_or((now, counted));
        let window = now.duration_since(start).as_secs_f64();
        let rate = |count: u64, before: u64| {
            let grown = count.saturating_sub(before) as f64;
            if window > 0.0 { grown / window } else { 0.0 }
        };
        Rates {
            window_seconds: window,
            requests_per_second: rate(counted.requests, before.requests),
            mounts_per_second: rate(counted.mounts, before.mounts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(requests: u64) -> Counted {
        Counted {
            requests,
            mounts: requests / 2,
        }
    }

    fn rates(window_seconds: f64, requests_per_second: f64) -> Rates {
        Rates {
            window_seconds,
            requests_per_second,
            mounts_per_second: requests_per_second / 2.0,
        }
    }

    #[test]
    fn after_a_start_the_window_is_the_uptime() {
        let start = Instant::now();
        let recent = RecentCounts::new(start);
        assert_eq!(recent.rates(start, counted(0)), rates(0.0, 0.0));
        let later = start + Duration::from_secs(20);
        assert_eq!(recent.rates(later, counted(40)), rates(20.0, 2.0));
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut recent = RecentCounts::new(start);
        // Two requests a second for ten minutes, then none.
        for at in (10..=600).step_by(10) {
            recent.sample(after(at), counted(2 * at));
        }
        assert_eq!(recent.len(), 31);
        assert_eq!(recent.rates(after(600), counted(1200)), rates(300.0, 2.0));
        for at in (610..=900).step_by(10) {
            recent.sample(after(at), counted(1200));
        }
        assert_eq!(recent.rates(after(900), counted(1200)), rates(300.0, 0.0));
    }
}
