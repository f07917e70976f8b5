//! How fast uploads are.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Uploads that ended before that do not count any longer.
const RECENT: Duration = Duration::from_secs(60);
/// The most uploads that are kept: the last ones.
const MOST: usize = 256;
/// An upload is not judged before.
const JUDGED_AFTER: Duration = Duration::from_millis(500);
/// So many uploads are needed before one of them is called slow.
const ENOUGH: usize = 3;

/// The rates of uploads that ended, in bytes a second.
#[derive(Debug, Default)]
pub(super) struct Rates {
    ended: VecDeque<(Instant, f64)>,
    /// The highest rate that was seen.
    peak: f64,
    /// Whether an upload took long enough to show a rate.
    is_peak_known: bool,
}

/// How many bytes came in which time.
pub(super) fn rate(bytes: u64, time: Duration) -> Option<f64> {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a rate needs no more than 52 bits"
    )]
    let bytes = bytes as f64;
    (time >= JUDGED_AFTER).then(|| bytes / time.as_secs_f64())
}

impl Rates {
    /// Records an upload that ended.
    pub(super) fn record(&mut self, bytes: u64, time: Duration) {
        // A short one shows little, but no upload is faster than the peak.
        let short = time.max(Duration::from_millis(1));
        let Some(seen) = rate(bytes, short.max(JUDGED_AFTER)) else {
            return;
        };
        self.peak = self.peak.max(seen);
        if let Some(rate) = rate(bytes, time) {
            self.is_peak_known = true;
            if self.ended.len() >= MOST {
                self.ended.pop_front();
            }
            self.ended.push_back((Instant::now(), rate));
        }
    }

    /// Whether a rate is below a quarter of the median of the other uploads: those `in_flight`, and
    /// those that ended within the last minute.
    pub(super) fn is_slow(&self, rate: f64, in_flight: impl Iterator<Item = f64>) -> bool {
        let recent = self.ended.iter().filter(|(at, _)| at.elapsed() < RECENT);
        let mut others: Vec<f64> = recent.map(|(_, rate)| *rate).chain(in_flight).collect();
        if others.len() < ENOUGH {
            return false;
        }
        others.sort_by(f64::total_cmp);
        rate < others[others.len() / 2] / 4.0
    }

    /// Whether so many bytes cannot come within this time, even at the highest rate that was seen.
    pub(super) fn is_hopeless(&self, bytes: u64, within: Duration) -> bool {
        #[allow(
            clippy::cast_precision_loss,
            reason = "a rate needs no more than 52 bits"
        )]
        let bytes = bytes as f64;
        self.is_peak_known && bytes > self.peak * within.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_slow_below_a_quarter_of_the_median() {
        let mut rates = Rates::default();
        let second = Duration::from_secs(1);
        assert!(
            !rates.is_slow(0.0, [].into_iter()),
            "there is nothing to compare with"
        );
        for bytes in [100, 200, 400] {
            rates.record(bytes, second);
        }
        assert!(rates.is_slow(49.0, [].into_iter()));
        assert!(!rates.is_slow(51.0, [].into_iter()));
        // Four that are slow as well make it no exception.
        assert!(!rates.is_slow(49.0, [50.0; 4].into_iter()));
    }

    #[test]
    fn what_the_highest_rate_cannot_bring_is_hopeless() {
        let mut rates = Rates::default();
        let ten = Duration::from_secs(10);
        assert!(!rates.is_hopeless(u64::MAX, ten), "no rate was seen");
        rates.record(1000, Duration::from_secs(1));
        rates.record(10, Duration::from_secs(1));
        assert!(!rates.is_hopeless(9999, ten));
        assert!(rates.is_hopeless(10_001, ten));
    }

    #[test]
    fn short_uploads_raise_no_expectations() {
        let mut rates = Rates::default();
        rates.record(1000, Duration::from_micros(1));
        // A configuration of a few bytes says nothing of the layers that come next.
        assert!(!rates.is_hopeless(21_000, Duration::from_secs(10)));
        rates.record(500, Duration::from_secs(1));
        assert!(rates.is_hopeless(21_000, Duration::from_secs(10)));
    }
}
