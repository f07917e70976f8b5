//! Every metric, declared once. No label ever holds a repository, a digest or a user.
//!
//! `registration` registers each kind, and `summary` and `latency` read them as numbers for the
//! page.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::core::{MetricVec, MetricVecBuilder};
use prometheus::{
    Encoder, Histogram, HistogramTimer, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Registry, TextEncoder,
};
use strum::VariantArray;
use tracing_appender::non_blocking::ErrorCounter;

use crate::telemetry::labels::{
    AccessResult, BucketResult, CacheResult, DecidedBy, HeldResult, NotificationResult,
    RedisResult, ScanItem, SearchResult, StoreOperation, VerifyResult,
};
use crate::telemetry::outcome::{Outcome, Reason, Via};
use crate::telemetry::registration::{
    access_decisions, bucket_duration, bucket_requests, build_info, certificate_expiry, counter,
    gauge, held, held_duration, held_results, histogram, index_links, last_scan, log_lines_dropped,
    notifications_queue_length, plain_histogram, ready, redis_duration, redis_requests,
    store_searches, uploaded_bytes, verified, verify_queue_length,
};

/// The metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub(super) mounts: IntCounterVec,
    pub(super) mounted_bytes: IntCounterVec,
    pub(super) dry_run_bytes: IntCounterVec,
    pub(super) uploaded_bytes: IntCounter,
    pub(super) mount_duration: HistogramVec,
    access_decisions: IntCounterVec,
    store_duration: HistogramVec,
    upstream_duration: Histogram,
    pub(super) token_cache_requests: IntCounterVec,
    index_links: IntGauge,
    store_searches: IntCounterVec,
    pub(super) held: IntGauge,
    pub(super) held_results: IntCounterVec,
    held_duration: Histogram,
    scan_items: IntCounterVec,
    last_scan: IntGauge,
    bucket_requests: IntCounterVec,
    bucket_duration: Histogram,
    redis_requests: IntCounterVec,
    redis_duration: Histogram,
    verified: IntCounterVec,
    verify_queue_length: IntGauge,
    pub(super) notifications: IntCounterVec,
    pub(super) notifications_queue_length: IntGaugeVec,
    ready: IntGauge,
    requests: IntCounterVec,
    pub(super) request_duration: Histogram,
    in_flight: IntGauge,
    pub(super) certificate_expiry: IntGaugeVec,
    log_lines_dropped: IntCounter,
    lines_dropped: Option<ErrorCounter>,
    lines_shown_as_lost: AtomicU64,
}

impl Metrics {
    /// Declares all metrics; mounts and access decisions have every label value from the start.
    /// `lines_dropped` is the log's counter of dropped lines.
    pub fn new(lines_dropped: Option<ErrorCounter>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            mounts: counter(
                &registry,
                "crossmount_mounts_total",
                "Mount requests, by outcome and reason.",
                &["outcome", "reason"],
            )?,
            mounted_bytes: counter(
                &registry,
                "crossmount_mounted_bytes_total",
                "Bytes of layers that clients did not have to upload, by how crossmount found the source.",
                &["via"],
            )?,
            dry_run_bytes: counter(
                &registry,
                "crossmount_dry_run_bytes_total",
                "Bytes of layers that a dry run would have mounted, by how crossmount found the source.",
                &["via"],
            )?,
            uploaded_bytes: uploaded_bytes(&registry)?,
            mount_duration: histogram(
                &registry,
                "crossmount_mount_duration_seconds",
                "Seconds from a mount request to its response, by outcome.",
                &["outcome"],
            )?,
            access_decisions: access_decisions(&registry)?,
            store_duration: histogram(
                &registry,
                "crossmount_store_operation_duration_seconds",
                "Seconds that an operation on the store took, by operation.",
                &["operation"],
            )?,
            upstream_duration: plain_histogram(
                &registry,
                "crossmount_upstream_request_duration_seconds",
                "Seconds that crossmount's own requests to the registry took, without health checks.",
            )?,
            token_cache_requests: counter(
                &registry,
                "crossmount_token_cache_requests_total",
                "Token requests whose response may be cached, by cache hit or miss.",
                &["result"],
            )?,
            index_links: index_links(&registry)?,
            store_searches: store_searches(&registry)?,
            held: held(&registry)?,
            held_results: held_results(&registry)?,
            held_duration: held_duration(&registry)?,
            scan_items: counter(
                &registry,
                "crossmount_store_scan_items_total",
                "Repositories and layer links that scans of the store found, and entries that could not be read, by kind.",
                &["kind"],
            )?,
            last_scan: last_scan(&registry)?,
            bucket_requests: bucket_requests(&registry)?,
            bucket_duration: bucket_duration(&registry)?,
            redis_requests: redis_requests(&registry)?,
            redis_duration: redis_duration(&registry)?,
            verified: verified(&registry)?,
            verify_queue_length: verify_queue_length(&registry)?,
            notifications: counter(
                &registry,
                "crossmount_notifications_total",
                "Attempts to send webhook events, and events that were dropped, by endpoint and result.",
                &["endpoint", "result"],
            )?,
            notifications_queue_length: notifications_queue_length(&registry)?,
            ready: ready(&registry)?,
            requests: counter(
                &registry,
                "crossmount_requests_total",
                "Requests on the port for clients, by method and response status.",
                &["method", "code"],
            )?,
            request_duration: plain_histogram(
                &registry,
                "crossmount_request_duration_seconds",
                "Seconds from a request's headers to the end of its response.",
            )?,
            in_flight: gauge(
                &registry,
                "crossmount_requests_in_flight",
                "Requests in flight on the port for clients.",
            )?,
            certificate_expiry: certificate_expiry(&registry)?,
            log_lines_dropped: log_lines_dropped(&registry)?,
            lines_dropped,
            lines_shown_as_lost: AtomicU64::new(0),
            registry,
        };
        metrics.show_every_value();
        build_info(&metrics.registry)?;
        Ok(metrics)
    }

    fn show_every_value(&self) {
        for outcome in Outcome::VARIANTS {
            for reason in Reason::VARIANTS {
                let labels = [outcome.as_ref(), reason.as_ref()];
                self.mounts.with_label_values(&labels);
            }
            self.mount_duration.with_label_values(&[outcome]);
        }
        for via in DecidedBy::VARIANTS {
            for decision in AccessResult::VARIANTS {
                let labels = [decision.as_ref(), via.as_ref()];
                self.access_decisions.with_label_values(&labels);
            }
        }
        show_values::<Via, _>(&self.mounted_bytes);
        show_values::<Via, _>(&self.dry_run_bytes);
        show_values::<SearchResult, _>(&self.store_searches);
        show_values::<HeldResult, _>(&self.held_results);
        show_values::<ScanItem, _>(&self.scan_items);
        show_values::<BucketResult, _>(&self.bucket_requests);
        show_values::<RedisResult, _>(&self.redis_requests);
        show_values::<VerifyResult, _>(&self.verified);
        show_values::<CacheResult, _>(&self.token_cache_requests);
        show_values::<StoreOperation, _>(&self.store_duration);
    }

    /// Counts a mount, and how long it took.
    pub fn mount(&self, outcome: Outcome, reason: Reason, took: Duration) {
        let labels = [outcome.as_ref(), reason.as_ref()];
        self.mounts.with_label_values(&labels).inc();
        self.mount_duration
            .with_label_values(&[outcome])
            .observe(took.as_secs_f64());
    }

    /// Counts the bytes of a linked layer.
    pub fn mounted_bytes(&self, bytes: u64, via: Via) {
        self.mounted_bytes.with_label_values(&[via]).inc_by(bytes);
    }

    /// Counts the bytes of a layer that a dry run would have linked.
    pub fn dry_run_bytes(&self, bytes: u64, via: Via) {
        self.dry_run_bytes.with_label_values(&[via]).inc_by(bytes);
    }

    /// Counts bytes of a client's upload on their way to the registry.
    pub fn uploaded_bytes(&self, bytes: u64) {
        self.uploaded_bytes.inc_by(bytes);
    }

    /// Counts an access decision.
    pub(crate) fn access_decision(&self, decision: AccessResult, via: DecidedBy) {
        let labels = [decision.as_ref(), via.as_ref()];
        self.access_decisions.with_label_values(&labels).inc();
    }

    /// Counts a request to the token endpoint.
    pub(crate) fn token_cache_request(&self, result: CacheResult) {
        self.token_cache_requests.with_label_values(&[result]).inc();
    }

    /// Sets the number of links in the index.
    pub fn index_links(&self, links: u64) {
        self.index_links
            .set(i64::try_from(links).unwrap_or(i64::MAX));
    }

    /// The number of HEADs that are held now.
    pub(crate) fn held(&self) -> &IntGauge {
        &self.held
    }

    /// Counts a HEAD that was held.
    pub(crate) fn held_ended(&self, result: HeldResult, time: Duration) {
        self.held_results.with_label_values(&[result]).inc();
        self.held_duration.observe(time.as_secs_f64());
    }

    /// Counts a search for a layer in the store.
    pub(crate) fn store_searched(&self, result: SearchResult) {
        self.store_searches.with_label_values(&[result]).inc();
    }

    /// Counts what a scan of the store found, or could not read.
    pub(crate) fn scanned(&self, item: ScanItem) {
        self.scan_items.with_label_values(&[item]).inc();
    }

    /// Sets when the last complete scan ended, in seconds since 1970.
    pub fn scan_succeeded(&self, seconds: u64) {
        self.last_scan
            .set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// Counts a call to the object store, and how long it took.
    pub(crate) fn bucket_request(&self, result: BucketResult, took: Duration) {
        self.bucket_requests.with_label_values(&[result]).inc();
        self.bucket_duration.observe(took.as_secs_f64());
    }

    /// Counts a blob that was hashed, or dropped.
    pub(crate) fn verified(&self, result: VerifyResult) {
        self.verified.with_label_values(&[result]).inc();
    }

    /// Counts a request to Redis, or a change that was not sent.
    pub(crate) fn redis_request(&self, result: RedisResult) {
        self.redis_requests.with_label_values(&[result]).inc();
    }

    /// Measures a request to Redis.
    pub(crate) fn redis_duration(&self, took: Duration) {
        self.redis_duration.observe(took.as_secs_f64());
    }

    /// Sets the number of blobs in the queue.
    pub fn verify_queue_length(&self, waiting: usize) {
        self.verify_queue_length
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Initializes the metrics of an endpoint.
    pub fn notifications_begin(&self, endpoint: &str) {
        for result in NotificationResult::VARIANTS {
            let labels = [endpoint, result.as_ref()];
            self.notifications.with_label_values(&labels);
        }
        self.notifications_queue_length(endpoint, 0);
    }

    /// Counts an attempt to send an event, or a dropped one.
    pub(crate) fn notification(&self, endpoint: &str, result: NotificationResult) {
        let labels = [endpoint, result.as_ref()];
        self.notifications.with_label_values(&labels).inc();
    }

    /// Sets the number of events in an endpoint's queue.
    pub fn notifications_queue_length(&self, endpoint: &str, waiting: usize) {
        self.notifications_queue_length
            .with_label_values(&[endpoint])
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Sets whether the process is ready.
    pub fn ready(&self, is_ready: bool) {
        self.ready.set(i64::from(is_ready));
    }

    /// Measures an operation on the store until the timer is dropped.
    pub(crate) fn store_timer(&self, operation: StoreOperation) -> HistogramTimer {
        self.store_duration
            .with_label_values(&[operation])
            .start_timer()
    }

    /// Measures a request of crossmount's own to the registry until the timer is dropped.
    pub fn upstream_timer(&self) -> HistogramTimer {
        self.upstream_duration.start_timer()
    }

    /// Counts a request; `code` is `None` if no response was sent.
    pub fn request(&self, method: &http::Method, code: Option<http::StatusCode>, took: Duration) {
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "other",
        };
        let code = code.as_ref().map_or("none", http::StatusCode::as_str);
        self.requests.with_label_values(&[method, code]).inc();
        self.request_duration.observe(took.as_secs_f64());
    }

    /// The gauge of requests in flight.
    pub fn in_flight(&self) -> &IntGauge {
        &self.in_flight
    }

    /// Sets when a certificate expires, in seconds since 1970.
    pub fn certificate_expiry(&self, place: &str, seconds: i64) {
        self.certificate_expiry
            .with_label_values(&[place])
            .set(seconds);
    }

    /// All metrics in Prometheus' text form.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        if let Some(lost) = &self.lines_dropped {
            let lost = lost.dropped_lines() as u64;
            let shown = self.lines_shown_as_lost.fetch_max(lost, Ordering::Relaxed);
            self.log_lines_dropped.inc_by(lost.saturating_sub(shown));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Shows every value of a label from the start.
fn show_values<L, T: MetricVecBuilder>(metric: &MetricVec<T>)
where
    L: VariantArray + AsRef<str> + Debug,
{
    for value in L::VARIANTS {
        metric.with_label_values(&[value]);
    }
}

#[cfg(test)]
mod tests;
