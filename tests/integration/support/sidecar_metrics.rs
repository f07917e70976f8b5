//! What a sidecar counts.

use super::raw_http;
use super::sidecar::Sidecar;
use std::time::{Duration, Instant};

impl Sidecar {
    /// /metrics, once every request has been counted: that comes after its answer.
    #[track_caller]
    pub fn metrics(&self) -> String {
        let start = Instant::now();
        loop {
            let text = raw_http::get(self.admin, "/metrics").expect(200).text();
            let quiet = text.contains("\ncrossmount_requests_in_flight 0\n");
            if quiet || start.elapsed() > Duration::from_secs(10) {
                return text;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The sum of all samples of `name` that carry these labels.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        sum(&self.metrics(), name, labels)
    }

    /// The same, while requests are in flight.
    #[track_caller]
    pub fn metric_meanwhile(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = raw_http::get(self.admin, "/metrics").expect(200).text();
        sum(&text, name, labels)
    }

    /// How many mounts ended this way.
    #[track_caller]
    pub fn mounts(&self, outcome: &str, reason: &str) -> u64 {
        let labels = [("outcome", outcome), ("reason", reason)];
        whole(self.metric("crossmount_mounts_total", &labels))
    }

    /// How many mounts went to the registry for this reason, whatever it made of them.
    #[track_caller]
    pub fn mounts_with_reason(&self, reason: &str) -> u64 {
        whole(self.metric("crossmount_mounts_total", &[("reason", reason)]))
    }

    /// How many mounts the sidecar answered by a link of its own.
    #[track_caller]
    pub fn mounted(&self) -> u64 {
        whole(self.metric("crossmount_mounts_total", &[("outcome", "mounted")]))
    }

    /// How many decisions about access ended this way.
    #[track_caller]
    pub fn decisions(&self, decision: &str, via: &str) -> u64 {
        let labels = [("decision", decision), ("via", via)];
        whole(self.metric("crossmount_access_decisions_total", &labels))
    }

    /// How often the sidecar asked the registry on its own account.
    #[track_caller]
    pub fn subrequests(&self) -> u64 {
        whole(self.metric("crossmount_upstream_request_duration_seconds_count", &[]))
    }

    /// Mounts of every outcome, by outcome and reason, without those that never happened.
    pub fn all_mounts(&self) -> Vec<String> {
        self.metrics()
            .lines()
            .filter(|line| line.starts_with("crossmount_mounts_total{") && !line.ends_with(" 0"))
            .map(str::to_owned)
            .collect()
    }
}

/// How often the registry was asked whether it is writable at most, from a first time then on: its
/// word counts for five seconds, and nothing is begun in the last tenth of them.
pub fn most_questions(since: Instant) -> u64 {
    1 + whole(since.elapsed().as_secs_f64() / 4.5)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters of a test are small and whole"
)]
pub fn whole(value: f64) -> u64 {
    value as u64
}

#[track_caller]
fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}=\"{value}\""))
        .collect();
    let samples: Vec<f64> = text
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|line| line.starts_with([' ', '{']))
        .filter(|line| wanted.iter().all(|label| line.contains(label)))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(!samples.is_empty(), "no {name} {labels:?} in:\n{text}");
    samples.iter().sum()
}
