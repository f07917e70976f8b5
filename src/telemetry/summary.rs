//! The metrics as numbers for the page: sums, and quantiles estimated from histograms.

use prometheus::Histogram;
use prometheus::core::Metric;
use strum::VariantArray;

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

/// The number of measurements, and their quantiles.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct LatencySummary {
    /// The number of measurements.
    pub count: u64,
    /// The estimated median, in seconds.
    pub p50: Option<f64>,
    /// The estimated 95th percentile, in seconds.
    pub p95: Option<f64>,
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

    /// The latency of mounts of every outcome.
    pub fn mount_latency(&self) -> LatencySummary {
        let of = |outcome: &Outcome| self.mount_duration.with_label_values(&[outcome]);
        latency(Outcome::VARIANTS.iter().map(of))
    }

    /// The latency of requests on the registry's port.
    pub fn request_latency(&self) -> LatencySummary {
        latency([self.request_duration.clone()])
    }
}

/// The summary of histograms with the same buckets.
fn latency(histograms: impl IntoIterator<Item = Histogram>) -> LatencySummary {
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    let mut count = 0;
    for histogram in histograms {
        let measured = histogram.metric();
        let measured = measured.get_histogram();
        count += measured.get_sample_count();
        for (at, bucket) in measured.get_bucket().iter().enumerate() {
            match buckets.get_mut(at) {
                Some((_, sum)) => *sum += bucket.cumulative_count(),
                None => buckets.push((bucket.upper_bound(), bucket.cumulative_count())),
            }
        }
    }
    LatencySummary {
        count,
        p50: quantile(&buckets, count, 0.5),
        p95: quantile(&buckets, count, 0.95),
    }
}

/// Estimates like Prometheus' `histogram_quantile`: values are spread evenly within a bucket, and
/// those beyond the last bound count as the last bound.
#[allow(
    clippy::cast_precision_loss,
    reason = "an estimate; counts stay far below 2^52"
)]
fn quantile(buckets: &[(f64, u64)], count: u64, quantile: f64) -> Option<f64> {
    if count == 0 {
        return None;
    }
    let rank = count as f64 * quantile;
    let (mut low, mut below) = (0.0, 0);
    for (high, up_to) in buckets.iter().copied() {
        if up_to as f64 >= rank && up_to > below {
            let part = (rank - below as f64) / (up_to - below) as f64;
            return Some(low + (high - low) * part.clamp(0.0, 1.0));
        }
        (low, below) = (high, up_to);
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_quantile_lies_between_the_bounds_of_its_bucket() {
        let buckets = [(1.0, 0), (2.0, 10), (4.0, 10), (8.0, 20)];
        assert_eq!(quantile(&buckets, 20, 0.25), Some(1.5));
        assert_eq!(quantile(&buckets, 20, 0.5), Some(2.0));
        assert_eq!(quantile(&buckets, 20, 0.75), Some(6.0));
        // Beyond the last bound nothing is known.
        assert_eq!(quantile(&buckets, 100, 0.95), Some(8.0));
        assert_eq!(quantile(&buckets, 0, 0.5), None);
    }

    #[test]
    fn mounts_of_every_outcome_are_measured_together() {
        let metrics = Metrics::new(None).unwrap();
        assert_eq!(metrics.mount_latency().p50, None);
        let took = Duration::from_millis(3);
        metrics.mount(Outcome::Mounted, Reason::None, took);
        metrics.mount(Outcome::Forwarded, Reason::Denied, took);
        let latency = metrics.mount_latency();
        assert_eq!(latency.count, 2);
        assert!(latency.p95.is_some_and(|p| (0.0025..=0.005).contains(&p)));
        assert_eq!(
            metrics.mounts(),
            [
                (Outcome::Mounted, Reason::None, 1),
                (Outcome::Forwarded, Reason::Denied, 1)
            ]
        );
    }

    #[test]
    fn bytes_are_summed_however_a_layer_was_found() {
        let metrics = Metrics::new(None).unwrap();
        for via in Via::VARIANTS {
            metrics.mounted_bytes(5, *via);
        }
        metrics.dry_run_bytes(7, Via::Head);
        let (mounted, dry_run) = (15, 7);
        assert_eq!(metrics.saved(), SavedByVia { mounted, dry_run });
    }
}
