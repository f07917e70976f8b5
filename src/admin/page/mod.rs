//! The page on the admin port: what crossmount does for the operator.
//!
//! The server renders a [`Status`] into the page once, and the page's own script requests it again
//! every two seconds. `today` tracks the day, and `format` has the numbers and sentences. The
//! template is filled in once from left to right, so that no value is expanded again. No client's
//! request waits for any of it, and the page loads nothing from elsewhere.

pub(crate) mod format;
mod today;

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::admin::health::Health;
use crate::admin::page::today::Today;
use crate::admin::status::{Moment, MountCounts, SavedBytes, Status};
use crate::config::{Config, RegistryKind, effective};
use crate::telemetry::metrics::Metrics;

const TEMPLATE: &str = include_str!("page.html");
/// The style sheet.
pub(crate) const STYLE: &str = include_str!("page.css");
/// The script.
pub(crate) const SCRIPT: &str = include_str!("page.js");
/// The icon: without one, browsers request a missing file.
pub(crate) const ICON: &str = include_str!("icon.svg");
/// How long a result of the readiness check is reused: any number of viewers costs the registry one
/// probe in this time.
const FRESH: Duration = Duration::from_secs(1);

/// Renders the page, with what it needs beside the metrics.
#[derive(Debug)]
pub(crate) struct Page {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// The configuration in effect, masked.
    config: String,
    is_dry_run: bool,
    started: (SystemTime, Instant),
    today: Today,
    known: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Page {
    pub(crate) fn new(config: &Config, metrics: Arc<Metrics>, health: Arc<Health>) -> Self {
        let now = SystemTime::now();
        Self {
            metrics,
            health,
            config: effective(config),
            is_dry_run: match &config.kind {
                RegistryKind::Distribution(settings) => settings.mount.dry_run,
                RegistryKind::RegistryWriter(_)
                | RegistryKind::Pulp(_)
                | RegistryKind::Generic(_) => false,
            },
            started: (now, Instant::now()),
            today: Today::new(now),
            known: Mutex::new(None),
        }
    }

    /// Begins each day on time, for as long as it is polled.
    pub(crate) async fn roll_over_daily(&self) {
        self.today.roll_over_daily(&self.metrics).await;
    }

    /// The page as it is before its script runs.
    pub(crate) async fn html(&self) -> String {
        render(&self.status().await, &self.config)
    }

    /// The body of `/status.json`.
    pub(crate) async fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.status().await)
    }

    async fn status(&self) -> Status {
        let health = self.ready().await;
        let (started, since) = self.started;
        let now = SystemTime::now();
        let total = self.metrics.saved();
        let today = self.today.since_midnight(total, now);
        let (today, since_start) = if self.is_dry_run {
            (today.dry_run, total.dry_run)
        } else {
            (today.mounted, total.mounted)
        };
        let moment = Moment {
            now,
            started,
            uptime: since.elapsed(),
            health,
            is_dry_run: self.is_dry_run,
            saved_bytes: SavedBytes { today, since_start },
        };
        Status::new(moment, &self.metrics)
    }

    /// Like [`Health::ready`], checked once for all viewers within a second.
    async fn ready(&self) -> Result<(), String> {
        let mut known = self.known.lock().await;
        if let Some((at, health)) = &*known
            && at.elapsed() < FRESH
        {
            return health.clone();
        }
        let health = self.health.ready().await;
        *known = Some((Instant::now(), health.clone()));
        health
    }
}

fn render(status: &Status, config: &str) -> String {
    fill(TEMPLATE, |name, page| match name {
        "ready" => page.push_str(if status.ready { "yes" } else { "no" }),
        "started" => page.push_str(&status.started.to_string()),
        "version" => page.push_str(status.version),
        "saved-title" => page.push_str(saved_title(status.dry_run)),
        "saved-note" => page.push_str(saved_note(status.dry_run)),
        "mount-rows" => status.mounts.iter().for_each(|mounts| row(mounts, page)),
        "config" => escape(config, page),
        text => escape(status.texts.get(text).map_or("", String::as_str), page),
    })
}

fn saved_title(is_dry_run: bool) -> &'static str {
    if is_dry_run {
        "A dry run: not sent, if it were none"
    } else {
        "Not sent, because it was there"
    }
}

fn saved_note(is_dry_run: bool) -> &'static str {
    if is_dry_run {
        "mount.dry_run is on: nothing is linked, and clients send everything. These bytes of layers crossmount would have saved them."
    } else {
        "Bytes of layers that crossmount linked or copied, so that no client sent them. What the registry mounted itself is not counted."
    }
}

/// A row of the table, with the same markup as the page's script makes.
fn row(mounts: &MountCounts, page: &mut String) {
    let mut cell = |open: &str, text: &str| {
        page.push_str(open);
        escape(text, page);
    };
    cell("<tr><td class=\"number\">", &mounts.shown);
    cell("</td><td>", mounts.became);
    cell(" <code>", mounts.outcome);
    cell("</code></td><td>", mounts.because);
    cell(" <code>", mounts.reason);
    page.push_str("</code></td></tr>");
}

#[cfg(test)]
mod tests;

/// `template` with each `{{name}}` replaced by what `write` writes for it.
pub(crate) fn fill(template: &str, mut write: impl FnMut(&str, &mut String)) -> String {
    let mut page = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            rest = after;
            break;
        };
        write(name, &mut page);
        rest = after;
    }
    page.push_str(rest);
    page
}

/// Writes a text so that it has no markup, between tags or in a quoted attribute.
pub(crate) fn escape(text: &str, page: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' | '\'' => {
                // Writing to a String cannot fail.
                let _ = write!(page, "&#{};", u32::from(letter));
            }
            _ => page.push(letter),
        }
    }
}
