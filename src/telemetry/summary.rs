//! The metrics as numbers for the page.

use prometheus::IntGaugeVec;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use strum::VariantArray;

use crate::telemetry::labels::{CacheResult, HeldResult, NotificationResult};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::outcome::{Outcome, Reason, Via};

/// Bytes that no client had to send, and those that a dry run would have saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SavedByVia {
    /// Bytes of layers that were mounted or copied, by any `via`.
    pub mounted: u64,
    /// Bytes of layers that a dry run would have mounted.
    pub dry_run: u64,
}

/// The events of one webhook endpoint.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct WebhookSummary {
    /// Its name.
    pub endpoint: String,
    /// The number of events in its queue.
    pub queue_length: i64,
    /// The number of delivered events.
    pub sent: u64,
    /// The number of attempts that failed.
    pub failed: u64,
    /// The number of events that were dropped.
    pub dropped: u64,
}

/// The HEADs that waited for an upload of the same layer.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct HeldSummary {
    /// How many are held at this moment.
    pub now: i64,
    /// The number that ended with the layer.
    pub linked: u64,
    /// The number that were held for the longest time.
    pub timed_out: u64,
    /// The number whose clients went on before that.
    pub released: u64,
    /// The number whose clients disconnected.
    pub abandoned: u64,
}

impl Metrics {
    /// Bytes saved since the start.
    pub fn saved(&self) -> SavedByVia {
        Via::VARIANTS
            .iter()
            .fold(SavedByVia::default(), |sum, via| SavedByVia {
                mounted: sum.mounted + self.mounted_bytes.with_label_values(&[via]).get(),
                dry_run: sum.dry_run + self.dry_run_bytes.with_label_values(&[via]).get(),
            })
    }

    /// Bytes of blobs that clients uploaded since the start.
    pub fn uploaded(&self) -> u64 {
        self.uploaded_bytes.get()
    }

    /// The number of requests on the registry's port.
    pub fn request_count(&self) -> u64 {
        self.request_duration.get_sample_count()
    }

    /// The number of mounts of every outcome.
    pub fn mount_count(&self) -> u64 {
        let of = |outcome: &Outcome| self.mount_duration.with_label_values(&[outcome]);
        let counts = Outcome::VARIANTS.iter().map(of);
        counts.map(|histogram| histogram.get_sample_count()).sum()
    }

    /// The number of mounts by outcome and reason, without zeros.
    pub fn mounts(&self) -> Vec<(Outcome, Reason, u64)> {
        let reasons = Reason::VARIANTS.iter().copied();
        let all = Outcome::VARIANTS.iter().copied();
        let all = all.flat_map(|outcome| reasons.clone().map(move |reason| (outcome, reason)));
        all.map(|(outcome, reason)| {
            let labels = [outcome.as_ref(), reason.as_ref()];
            let count = self.mounts.with_label_values(&labels).get();
            (outcome, reason, count)
        })
        .filter(|(_, _, count)| *count > 0)
        .collect()
    }

    /// Where a certificate is used, and when it expires, in seconds since 1970.
    pub fn certificates(&self) -> Vec<(String, i64)> {
        by_label(&self.certificate_expiry)
    }

    /// The webhook endpoints.
    pub fn webhooks(&self) -> Vec<WebhookSummary> {
        let endpoints = by_label(&self.notifications_queue_length).into_iter();
        endpoints
            .map(|(endpoint, queue_length)| {
                let count = |result: NotificationResult| {
                    let labels = [&*endpoint, result.as_ref()];
                    self.notifications.with_label_values(&labels).get()
                };
                WebhookSummary {
                    queue_length,
                    sent: count(NotificationResult::Sent),
                    failed: count(NotificationResult::Failed),
                    dropped: count(NotificationResult::Dropped),
                    endpoint,
                }
            })
            .collect()
    }

    /// The held HEADs.
    pub fn held_requests(&self) -> HeldSummary {
        let count = |result: HeldResult| self.held_results.with_label_values(&[result]).get();
        HeldSummary {
            now: self.held.get(),
            linked: count(HeldResult::Linked),
            timed_out: count(HeldResult::TimedOut),
            released: count(HeldResult::Released),
            abandoned: count(HeldResult::Abandoned),
        }
    }

    /// The number of hits and of misses of the token cache.
    pub fn token_cache(&self) -> (u64, u64) {
        let count = |result: CacheResult| {
            let requests = &self.token_cache_requests;
            requests.with_label_values(&[result]).get()
        };
        (count(CacheResult::Hit), count(CacheResult::Miss))
    }
}

/// The values of a gauge with one label, by the label's value.
fn by_label(gauge: &IntGaugeVec) -> Vec<(String, i64)> {
    let families = gauge.collect();
    let metrics = families.iter().flat_map(MetricFamily::get_metric);
    let labels = metrics.filter_map(|metric| metric.get_label().first());
    let mut values: Vec<_> = labels
        .map(|label| label.value().to_owned())
        .map(|label| {
            let value = gauge.with_label_values(&[&label]).get();
            (label, value)
        })
        .collect();
    values.sort();
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn mounts_are_counted_by_outcome_and_reason_without_zeros() {
        let metrics = Metrics::new(None).unwrap();
        let took = Duration::from_millis(3);
        metrics.mount(Outcome::Mounted, Reason::None, took);
        metrics.mount(Outcome::Forwarded, Reason::Denied, took);
        let rows = [
            (Outcome::Mounted, Reason::None, 1),
            (Outcome::Forwarded, Reason::Denied, 1),
        ];
        assert_eq!(metrics.mounts(), rows);
        assert_eq!(metrics.mount_count(), 2);
        metrics.request(&http::Method::GET, None, took);
        assert_eq!(metrics.request_count(), 1);
    }

    #[test]
    fn bytes_are_summed_however_a_layer_was_found() {
        let metrics = Metrics::new(None).unwrap();
        for via in Via::VARIANTS {
            metrics.mounted_bytes(5, *via);
        }
        let number = u64::try_from(Via::VARIANTS.len()).unwrap();
        metrics.dry_run_bytes(7, Via::Head);
        metrics.uploaded_bytes(11);
        let (mounted, dry_run) = (5 * number, 7);
        assert_eq!(metrics.saved(), SavedByVia { mounted, dry_run });
        assert_eq!(metrics.uploaded(), 11);
    }

    #[test]
    fn held_requests_are_counted_by_their_end() {
        let metrics = Metrics::new(None).unwrap();
        metrics.held().inc();
        let took = Duration::from_secs(1);
        for (result, times) in [
            (HeldResult::Linked, 4),
            (HeldResult::TimedOut, 3),
            (HeldResult::Released, 2),
            (HeldResult::Abandoned, 1),
        ] {
            for _ in 0..times {
                metrics.held_ended(result, took);
            }
        }
        let held = HeldSummary {
            now: 1,
            linked: 4,
            timed_out: 3,
            released: 2,
            abandoned: 1,
        };
        assert_eq!(metrics.held_requests(), held);
    }

    #[test]
    fn certificates_webhooks_and_token_cache_are_read_back() {
        let metrics = Metrics::new(None).unwrap();
        assert_eq!(metrics.certificates(), []);
        assert_eq!(metrics.webhooks(), []);
        metrics.certificate_expiry("upstream_client", 7);
        metrics.certificate_expiry("listener", 9);
        let certificates = [("listener".into(), 9), ("upstream_client".into(), 7)];
        assert_eq!(metrics.certificates(), certificates);

        metrics.notifications_begin("audit");
        metrics.notifications_queue_length("audit", 3);
        metrics.notification("audit", NotificationResult::Sent);
        metrics.notification("audit", NotificationResult::Sent);
        metrics.notification("audit", NotificationResult::Failed);
        let audit = WebhookSummary {
            endpoint: "audit".to_owned(),
            queue_length: 3,
            sent: 2,
            failed: 1,
            dropped: 0,
        };
        assert_eq!(metrics.webhooks(), [audit]);

        metrics.token_cache_request(CacheResult::Miss);
        metrics.token_cache_request(CacheResult::Hit);
        metrics.token_cache_request(CacheResult::Hit);
        assert_eq!(metrics.token_cache(), (2, 1));
    }
}
