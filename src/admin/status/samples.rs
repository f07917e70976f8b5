//! Reads the counters regularly, for the history and the rates.

use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::admin::status::history::{History, Transferred};
use crate::admin::status::rates::{Counted, Rates, RecentCounts};
use crate::admin::status::since_1970;
use crate::telemetry::metrics::Metrics;

/// The interval of samples; a bucket of the history is a multiple of it.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// What the counters were, and how fast they grow.
#[derive(Debug)]
pub(crate) struct Samples {
    is_dry_run: bool,
    history: Mutex<History>,
    recent: Mutex<RecentCounts>,
}

impl Samples {
    /// Begins with counters at zero. In a dry run, bytes that it would have saved count as saved.
    pub(crate) fn new(is_dry_run: bool) -> Self {
        Self {
            is_dry_run,
            history: Mutex::new(History::new(SystemTime::now())),
            recent: Mutex::new(RecentCounts::new(Instant::now())),
        }
    }

    /// Samples for as long as it is polled.
    pub(crate) async fn sample_every(&self, interval: Duration, metrics: &Metrics) {
        loop {
            tokio::time::sleep(until_next_sample(SystemTime::now(), interval)).await;
            self.with_history(metrics, |_, _, _| ());
            let mut recent = self.recent.lock();
            recent.sample(Instant::now(), counted(metrics));
        }
    }

    /// Gives the time, the counters and the history as they are now.
    pub(crate) fn with_history<T>(
        &self,
        metrics: &Metrics,
        read: impl FnOnce(SystemTime, Transferred, &History) -> T,
    ) -> T {
        let mut history = self.history.lock();
        // Read under the lock: counters that went back would be counted twice.
        let (now, total) = (SystemTime::now(), self.transferred(metrics));
        history.sample(now, total);
        read(now, total, &history)
    }

    /// The rates until now.
    pub(crate) fn rates(&self, metrics: &Metrics) -> Rates {
        let recent = self.recent.lock();
        recent.rates(Instant::now(), counted(metrics))
    }

    fn transferred(&self, metrics: &Metrics) -> Transferred {
        let saved = metrics.saved();
        Transferred {
            saved_bytes: if self.is_dry_run {
                saved.dry_run
            } else {
                saved.mounted
            },
            uploaded_bytes: metrics.uploaded(),
        }
    }
}

fn counted(metrics: &Metrics) -> Counted {
    Counted {
        requests: metrics.request_count(),
        mounts: metrics.mount_count(),
    }
}

/// Samples are at multiples of the interval, so that each bucket ends with one. The time is rounded
/// up to the timer's milliseconds, so that it does not wake too early.
fn until_next_sample(now: SystemTime, interval: Duration) -> Duration {
    let interval = interval.as_millis().max(1);
    let left = interval - since_1970(now).as_millis() % interval;
    Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::status::history::BUCKET;
    use crate::telemetry::outcome::Via;

    #[test]
    fn the_timer_wakes_up_just_after_a_bucket_has_ended() {
        let midnight = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 20_000);
        let until = |now| until_next_sample(now, INTERVAL);
        let before = midnight - Duration::from_millis(9_250);
        assert_eq!(until(before), Duration::from_millis(9_251));
        assert_eq!(until(midnight), Duration::from_millis(10_001));
        assert_eq!(BUCKET.as_secs() % INTERVAL.as_secs(), 0);
    }

    #[tokio::test]
    async fn the_timer_samples_though_no_page_is_viewed() {
        let metrics = Metrics::new(None).unwrap();
        let samples = Samples::new(false);
        metrics.uploaded_bytes(5);
        metrics.mounted_bytes(7, Via::From);
        metrics.dry_run_bytes(9, Via::From);
        let interval = Duration::from_millis(1);
        let timer = samples.sample_every(interval, &metrics);
        let _ = tokio::time::timeout(Duration::from_millis(200), timer).await;
        let counters = Transferred {
            saved_bytes: 7,
            uploaded_bytes: 5,
        };
        assert_eq!(samples.history.lock().sampled(), counters);
        assert!(samples.recent.lock().len() > 1);
    }

    #[test]
    fn a_dry_run_counts_what_it_would_have_saved() {
        let metrics = Metrics::new(None).unwrap();
        metrics.mounted_bytes(7, Via::From);
        metrics.dry_run_bytes(9, Via::From);
        let saved = |is_dry_run| {
            let samples = Samples::new(is_dry_run);
            samples.with_history(&metrics, |_, total, _| total.saved_bytes)
        };
        assert_eq!((saved(false), saved(true)), (7, 9));
    }
}
