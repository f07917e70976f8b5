//! The state that the page shows, for its script and for other programs.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::admin::page::format;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::summary::LatencySummary;

/// The body of `/status.json`. Names are added, never renamed; `texts` is only for the page.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub version: &'static str,
    /// Seconds since 1970.
    pub started: u64,
    pub uptime_seconds: u64,
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
    pub dry_run: bool,
    /// The UTC day of `saved_bytes.today`.
    pub day: String,
    pub saved_bytes: SavedBytes,
    pub mounts: Vec<MountCounts>,
    pub latency_seconds: Latencies,
    /// The texts on the page, by the id of their element.
    pub texts: BTreeMap<&'static str, String>,
}

/// Bytes saved, or those that a dry run would have saved.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SavedBytes {
    pub today: u64,
    pub since_start: u64,
}

/// The number of mount requests with one outcome and reason.
#[derive(Debug, Serialize)]
pub(crate) struct MountCounts {
    pub count: u64,
    pub outcome: &'static str,
    pub reason: &'static str,
    pub shown: String,
    pub became: &'static str,
    pub because: &'static str,
}

/// Estimated latencies.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latencies {
    pub mounts: LatencySummary,
    pub requests: LatencySummary,
}

/// What is not in the metrics.
pub(crate) struct Moment {
    pub now: SystemTime,
    pub started: SystemTime,
    pub uptime: Duration,
    pub health: Result<(), String>,
    pub is_dry_run: bool,
    pub saved_bytes: SavedBytes,
}

impl Status {
    pub(crate) fn new(moment: Moment, metrics: &Metrics) -> Self {
        let started = moment.started.duration_since(SystemTime::UNIX_EPOCH);
        let mut status = Self {
            version: env!("CARGO_PKG_VERSION"),
            started: started.unwrap_or_default().as_secs(),
            uptime_seconds: moment.uptime.as_secs(),
            ready: moment.health.is_ok(),
            reason: moment.health.err(),
            dry_run: moment.is_dry_run,
            day: time(moment.now)
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            saved_bytes: moment.saved_bytes,
            mounts: mounts(metrics),
            latency_seconds: Latencies {
                mounts: metrics.mount_latency(),
                requests: metrics.request_latency(),
            },
            texts: BTreeMap::new(),
        };
        status.texts = status.texts(moment.now, moment.started);
        status
    }

    fn texts(&self, now: SystemTime, started: SystemTime) -> BTreeMap<&'static str, String> {
        let saved = self.saved_bytes;
        let exact = |bytes| format!("{} bytes", format::whole_number(bytes));
        let Latencies { mounts, requests } = self.latency_seconds;
        BTreeMap::from([
            ("health", health(self.reason.as_deref())),
            ("today", format::bytes(saved.today)),
            ("today-exact", exact(saved.today)),
            ("day", self.day.clone()),
            ("total", format::bytes(saved.since_start)),
            ("total-exact", exact(saved.since_start)),
            ("mounts-sum", sum(&self.mounts)),
            ("mounts-count", format::whole_number(mounts.count)),
            ("mounts-p50", format::seconds(mounts.p50)),
            ("mounts-p95", format::seconds(mounts.p95)),
            ("requests-count", format::whole_number(requests.count)),
            ("requests-p50", format::seconds(requests.p50)),
            ("requests-p95", format::seconds(requests.p95)),
            (
                "uptime",
                format::duration(Duration::from_secs(self.uptime_seconds)),
            ),
            ("since", time(started)),
            ("as-of", time(now)),
        ])
    }
}

/// The text of `/readyz`.
fn health(reason: Option<&str>) -> String {
    reason.map_or_else(
        || "ready".to_owned(),
        |reason| format!("not ready: {reason}"),
    )
}

fn mounts(metrics: &Metrics) -> Vec<MountCounts> {
    let rows = metrics.mounts().into_iter();
    rows.map(|(outcome, reason, count)| MountCounts {
        count,
        outcome: outcome.into(),
        reason: reason.into(),
        shown: format::whole_number(count),
        became: format::describe_outcome(outcome),
        because: format::describe_reason(outcome, reason),
    })
    .collect()
}

fn sum(mounts: &[MountCounts]) -> String {
    match mounts.iter().map(|row| row.count).sum() {
        0 => "None came since the start.".to_owned(),
        1 => "One came since the start.".to_owned(),
        count => format!("{} came since the start.", format::whole_number(count)),
    }
}

/// To the second, for example `2026-01-31 23:59:59 UTC`.
fn time(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}
