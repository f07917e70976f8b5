//! The body of `/status.json`.

use std::time::SystemTime;

use serde::Serialize;

use crate::admin::status::history::{BUCKET, History, Transferred};
use crate::admin::status::meaning::{describe_outcome, describe_reason};
use crate::admin::status::parts::PartsHealth;
use crate::admin::status::rates::Rates;
use crate::telemetry::latency::LatencySummary;
use crate::telemetry::outcome::{Outcome, Reason};

/// The last second of the year 9999: RFC 3339 has no later time.
const LAST_TIME: u64 = 253_402_300_799;

/// The body of `/status.json`. Keys are added, never renamed. Times are in UTC, as in RFC 3339.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub version: &'static str,
    pub time: String,
    pub started: String,
    pub uptime_seconds: u64,
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
    pub dry_run: bool,
    /// The UTC day of `today`.
    pub day: String,
    pub saved_bytes: Bytes,
    pub uploaded_bytes: Bytes,
    /// The share of mounts after which the client had nothing to upload; `null` without a mount.
    pub hit_rate: Option<f64>,
    pub rates: Rates,
    pub mounts: Vec<MountCounts>,
    pub latency_seconds: Latencies,
    pub health: PartsHealth,
    pub history: HistoryBody,
    /// The configuration in effect as YAML, with its secrets masked.
    pub settings: String,
}

/// A sum of bytes. With a dry run, saved bytes are those that it would have saved.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Bytes {
    pub today: u64,
    pub since_start: u64,
}

/// The number of mounts with one outcome and reason.
#[derive(Debug, Serialize)]
pub(crate) struct MountCounts {
    pub count: u64,
    pub outcome: &'static str,
    pub reason: &'static str,
    pub outcome_meaning: &'static str,
    pub reason_meaning: &'static str,
}

/// Latencies since the start.
#[derive(Debug, Serialize)]
pub(crate) struct Latencies {
    pub mounts: LatencySummary,
    pub requests: LatencySummary,
}

/// The chart's data.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryBody {
    pub bucket_seconds: u64,
    pub buckets: Vec<HistoryBucket>,
}

/// One bucket of the chart.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryBucket {
    pub start: String,
    #[serde(flatten)]
    pub transferred: Transferred,
}

impl HistoryBody {
    pub(crate) fn new(history: &History) -> Self {
        let buckets = history.buckets().map(|bucket| HistoryBucket {
            start: rfc3339(bucket.start()),
            transferred: bucket.transferred,
        });
        Self {
            bucket_seconds: BUCKET.as_secs(),
            buckets: buckets.collect(),
        }
    }
}

/// The rows of the mounts' table, and the hit rate.
#[allow(
    clippy::cast_precision_loss,
    reason = "shown with three digits; counts stay far below 2^52"
)]
pub(crate) fn mounts(counted: &[(Outcome, Reason, u64)]) -> (Vec<MountCounts>, Option<f64>) {
    let rows = counted.iter().map(|&(outcome, reason, count)| MountCounts {
        count,
        outcome: outcome.into(),
        reason: reason.into(),
        outcome_meaning: describe_outcome(outcome),
        reason_meaning: describe_reason(outcome, reason),
    });
    let sum = |is_counted: fn(Outcome) -> bool| -> u64 {
        let counted = counted.iter();
        let counted = counted.filter(|(outcome, ..)| is_counted(*outcome));
        counted.map(|(_, _, count)| count).sum()
    };
    let all = sum(|_| true);
    let hits = sum(|outcome| outcome != Outcome::Forwarded);
    let hit_rate = (all > 0).then(|| hits as f64 / all as f64);
    (rows.collect(), hit_rate)
}

/// A time to the second.
pub(crate) fn rfc3339(since_1970: u64) -> String {
    let since_1970 = std::time::Duration::from_secs(since_1970.min(LAST_TIME));
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_1970).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hit_rate_is_of_all_mounts_but_those_that_were_forwarded() {
        let rate = |counted: &[_]| mounts(counted).1;
        assert_eq!(rate(&[]), None);
        let forwarded = (Outcome::Forwarded, Reason::Denied, 1);
        assert_eq!(rate(&[forwarded]), Some(0.0));
        let hits = [
            (Outcome::Mounted, Reason::None, 1),
            (Outcome::AlreadyLinked, Reason::None, 1),
            (Outcome::Native, Reason::None, 1),
            forwarded,
        ];
        assert_eq!(rate(&hits), Some(0.75));
        // A dry run shows the rate that crossmount would have.
        let dry = [(Outcome::WouldMount, Reason::None, 4), forwarded];
        assert_eq!(rate(&dry), Some(0.8));
    }

    #[test]
    fn every_time_can_be_written() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
