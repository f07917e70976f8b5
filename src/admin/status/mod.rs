//! `/status.json`: all that the page shows, for the page and for other programs.
//!
//! | file | what |
//! |---|---|
//! | this one | gathers the figures |
//! | `body`, `parts` | their form in JSON; `parts` has the health of each part |
//! | `samples` | reads the counters every ten seconds |
//! | `history` | bytes in the last 24 hours, for the chart |
//! | `rates` | requests and mounts per second |
//! | `meaning` | what outcomes and reasons mean |

mod body;
mod history;
mod meaning;
mod parts;
mod rates;
mod samples;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Mutex;

use crate::admin::health::{Health, HealthReport};
use crate::admin::status::body::{Bytes, HistoryBody, Latencies, Status, rfc3339};
use crate::admin::status::history::History;
use crate::admin::status::parts::{PartsHealth, PartsInUse};
use crate::admin::status::samples::Samples;
use crate::config::{Config, RegistryKind, effective};
use crate::telemetry::metrics::Metrics;

/// How long a health report is reused: any number of viewers costs the registry one probe in this
/// time.
const FRESH: Duration = Duration::from_secs(1);

/// Gathers the figures.
#[derive(Debug)]
pub(crate) struct StatusSource {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// The configuration in effect, masked.
    settings: String,
    is_dry_run: bool,
    parts: PartsInUse,
    started: (SystemTime, Instant),
    samples: Samples,
    report: Mutex<Option<(Instant, HealthReport)>>,
}

impl StatusSource {
    pub(crate) fn new(config: &Config, metrics: Arc<Metrics>, health: Arc<Health>) -> Self {
        let tokens = config.token_endpoint.as_ref();
        let discovery = config.kind.discovery();
        let is_dry_run = match &config.kind {
            RegistryKind::Distribution(settings) => settings.mount.dry_run,
            RegistryKind::RegistryWriter(_) | RegistryKind::Pulp(_) | RegistryKind::Generic(_) => {
                false
            }
        };
        Self {
            metrics,
            health,
            settings: effective(config),
            is_dry_run,
            parts: PartsInUse {
                token_cache: tokens.is_some_and(|tokens| tokens.remembered_for.is_some()),
                waiting: discovery.is_some_and(|it| !it.wait_for_uploads.is_zero()),
            },
            started: (SystemTime::now(), Instant::now()),
            samples: Samples::new(is_dry_run),
            report: Mutex::new(None),
        }
    }

    /// Samples the counters for as long as it is polled.
    pub(crate) async fn sample_periodically(&self) {
        let samples = &self.samples;
        samples.sample_every(samples::INTERVAL, &self.metrics).await;
    }

    /// The body of `/status.json`.
    pub(crate) async fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.status().await)
    }

    async fn status(&self) -> Status {
        let report = self.health().await;
        let (mounts, hit_rate) = body::mounts(&self.metrics.mounts());
        let rates = self.samples.rates(&self.metrics);
        let read = |now, total, history: &History| {
            (now, total, history.today(), HistoryBody::new(history))
        };
        let (now, total, today, history) = self.samples.with_history(&self.metrics, read);
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
            health: PartsHealth::new(report, &self.metrics, self.parts),
            history,
            settings: self.settings.clone(),
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
