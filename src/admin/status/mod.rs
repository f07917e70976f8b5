//! `/status.json`: all that the page shows, for the page and for other programs.
//!
//! | file | what |
//! |---|---|
//! | this one | gathers the figures |
//! | `body` | their form in JSON |
//! | `history` | bytes in the last 24 hours, for the chart |
//! | `rates` | requests and mounts per second |
//! | `meaning` | what outcomes and reasons mean |

mod body;
mod history;
mod meaning;
mod rates;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::admin::health::{Health, HealthReport};
use crate::admin::status::body::{Bytes, HistoryBody, Latencies, PartsHealth, Status, rfc3339};
use crate::admin::status::history::{History, Transferred};
use crate::admin::status::rates::{Counted, RecentCounts};
use crate::config::{Config, RegistryKind, effective};
use crate::telemetry::metrics::Metrics;

/// How long a health report is reused: any number of viewers costs the registry one probe in this
/// time.
const FRESH: Duration = Duration::from_secs(1);
/// The interval of the timer's samples; a bucket of the history is a multiple of it.
const SAMPLE: Duration = Duration::from_secs(10);

/// Gathers the figures.
#[derive(Debug)]
pub(crate) struct StatusSource {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// The configuration in effect, masked.
    settings: String,
    is_dry_run: bool,
    has_token_cache: bool,
    started: (SystemTime, Instant),
    history: Mutex<History>,
    recent: Mutex<RecentCounts>,
    report: tokio::sync::Mutex<Option<(Instant, HealthReport)>>,
}

impl StatusSource {
    pub(crate) fn new(config: &Config, metrics: Arc<Metrics>, health: Arc<Health>) -> Self {
        let tokens = config.token_endpoint.as_ref();
        let (now, monotonic) = (SystemTime::now(), Instant::now());
        Self {
            metrics,
            health,
            settings: effective(config),
            is_dry_run: match &config.kind {
                RegistryKind::Distribution(settings) => settings.mount.dry_run,
                RegistryKind::Pulp(_) | RegistryKind::Generic(_) => false,
            },
            has_token_cache: tokens.is_some_and(|tokens| tokens.remembered_for.is_some()),
            started: (now, monotonic),
            history: Mutex::new(History::new(now)),
            recent: Mutex::new(RecentCounts::new(monotonic)),
            report: tokio::sync::Mutex::new(None),
        }
    }

    /// Samples the counters for as long as it is polled.
    pub(crate) async fn sample_periodically(&self) {
        loop {
            tokio::time::sleep(until_next_sample(SystemTime::now())).await;
            let mut history = self.history.lock();
            history.sample(SystemTime::now(), self.transferred());
            self.recent.lock().sample(Instant::now(), self.counted());
        }
    }

    /// The body of `/status.json`.
    pub(crate) async fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.status().await)
    }

    async fn status(&self) -> Status {
        let report = self.health().await;
        let (mounts, hit_rate) = body::mounts(&self.metrics.mounts());
        let rates = self.recent.lock().rates(Instant::now(), self.counted());
        let (now, total, today, history) = {
            let mut history = self.history.lock();
            // Read under the lock: counters that went back would be counted twice.
            let (now, total) = (SystemTime::now(), self.transferred());
            history.sample(now, total);
            (now, total, history.today(), HistoryBody::new(&history))
        };
        let time = time(now);
        let reason = report.clone().ready().err();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            day: time.chars().take_while(|letter| *letter != 'T').collect(),
            time,
            started: self::time(self.started.0),
            uptime_seconds: self.started.1.elapsed().as_secs(),
            ready: reason.is_none(),
            reason,
            dry_run: self.is_dry_run,
            saved_bytes: Bytes {
                today: today.saved_bytes,
                since_start: total.saved_bytes,
            },
            uploaded_bytes: Bytes {
                today: today.uploaded_bytes,
                since_start: total.uploaded_bytes,
            },
            hit_rate,
            rates,
            mounts,
            latency_seconds: Latencies {
                mounts: self.metrics.mount_latency(),
                requests: self.metrics.request_latency(),
            },
            health: PartsHealth::new(report, &self.metrics, self.has_token_cache),
            history,
            settings: self.settings.clone(),
        }
    }

    fn transferred(&self) -> Transferred {
        let saved = self.metrics.saved();
        Transferred {
            saved_bytes: if self.is_dry_run {
                saved.dry_run
            } else {
                saved.mounted
            },
            uploaded_bytes: self.metrics.uploaded(),
        }
    }

    fn counted(&self) -> Counted {
        Counted {
            requests: self.metrics.request_count(),
            mounts: self.metrics.mount_count(),
        }
    }

    /// Checked once for all viewers within a second.
    async fn health(&self) -> HealthReport {
        let mut known = self.report.lock().await;
        if let Some((at, report)) = &*known
            && at.elapsed() < FRESH
        {
            return report.clone();
        }
        let report = self.health.report().await;
        *known = Some((Instant::now(), report.clone()));
        report
    }
}

fn since_1970(time: SystemTime) -> Duration {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

fn time(time: SystemTime) -> String {
    rfc3339(since_1970(time).as_secs())
}

/// Samples are at multiples of the interval, so that each bucket ends with one. The time is rounded
/// up to the timer's milliseconds, so that it does not wake too early.
fn until_next_sample(now: SystemTime) -> Duration {
    let since = since_1970(now);
    let next = (since.as_secs() / SAMPLE.as_secs() + 1) * SAMPLE.as_secs();
    Duration::from_secs(next).saturating_sub(since) + Duration::from_millis(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_wakes_up_just_after_a_bucket_has_ended() {
        let midnight = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 20_000);
        let before = midnight - Duration::from_millis(9_250);
        assert_eq!(until_next_sample(before), Duration::from_millis(9_251));
        assert_eq!(until_next_sample(midnight), Duration::from_millis(10_001));
        assert_eq!(history::BUCKET.as_secs() % SAMPLE.as_secs(), 0);
    }
}
