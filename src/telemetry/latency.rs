//! Quantiles of latencies, estimated from the buckets of histograms.

use prometheus::Histogram;
use prometheus::core::Metric;
use strum::VariantArray;

use crate::telemetry::metrics::Metrics;
use crate::telemetry::outcome::Outcome;

/// The number of measurements, and their quantiles.
///
/// A histogram knows only between which bounds a measurement lies, so a quantile is an estimate.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct LatencySummary {
    /// The number of measurements.
    pub count: u64,
    /// The estimated median, in seconds.
    pub p50: Option<f64>,
    /// The estimated 95th percentile, in seconds.
    pub p95: Option<f64>,
    /// The estimated 99th percentile, in seconds.
    pub p99: Option<f64>,
}

impl Metrics {
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
        p99: quantile(&buckets, count, 0.99),
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
    use crate::telemetry::outcome::Reason;
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
    fn one_slow_measurement_in_a_hundred_is_beyond_the_99th_percentile() {
        let buckets = [(0.001, 99), (0.01, 99), (1.0, 100)];
        assert_eq!(quantile(&buckets, 100, 0.99), Some(0.001));
        let buckets = [(0.001, 98), (0.01, 98), (1.0, 100)];
        assert!(quantile(&buckets, 100, 0.99).is_some_and(|slow| slow > 0.01));
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
        for quantile in [latency.p50, latency.p95, latency.p99] {
            assert!(quantile.is_some_and(|q| (0.0025..=0.005).contains(&q)));
        }
    }
}
