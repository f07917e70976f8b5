//! Registers metrics of each kind, and those whose help text is long.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Buckets in seconds: from a link in a warm page cache to a registry that hashes a large upload.
const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
    600.0,
];

pub(crate) fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

pub(crate) fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    let histogram = HistogramVec::new(options, labels)?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

pub(crate) fn plain_histogram(
    registry: &Registry,
    name: &str,
    help: &str,
) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    let histogram = Histogram::with_opts(options)?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

pub(crate) fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

pub(crate) fn store_searches(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    counter(
        registry,
        "crossmount_store_searches_total",
        "Searches for a layer in the repositories of the store, by result.",
        &["result"],
    )
}

pub(crate) fn uploaded_bytes(registry: &Registry) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(
        "crossmount_uploaded_bytes_total",
        "Bytes of blobs that clients uploaded to the registry through crossmount.",
    )?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

pub(crate) fn verified(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let help = "Blobs that were hashed, and blobs that were dropped because the queue was full, by result.";
    counter(
        registry,
        "crossmount_verified_blobs_total",
        help,
        &["result"],
    )
}

pub(crate) fn verify_queue_length(registry: &Registry) -> Result<IntGauge, prometheus::Error> {
    let help = "Blobs that wait to be hashed or are being hashed.";
    gauge(registry, "crossmount_verify_queue_length", help)
}

pub(crate) fn notifications_queue_length(
    registry: &Registry,
) -> Result<IntGaugeVec, prometheus::Error> {
    let options = Opts::new(
        "crossmount_notifications_queue_length",
        "Webhook events that wait or are being sent, by endpoint.",
    );
    let gauge = IntGaugeVec::new(options, &["endpoint"])?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

pub(crate) fn index_links(registry: &Registry) -> Result<IntGauge, prometheus::Error> {
    let help = "Layer links in the index of discovery.";
    gauge(registry, "crossmount_index_links", help)
}

pub(crate) fn last_scan(registry: &Registry) -> Result<IntGauge, prometheus::Error> {
    gauge(
        registry,
        "crossmount_store_scan_last_success_timestamp_seconds",
        "Time of the last successful scan of the store, in seconds since 1970. 0 before the first.",
    )
}

pub(crate) fn bucket_requests(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    counter(
        registry,
        "crossmount_bucket_requests_total",
        "Lists of objects in the registry's object store, by their result.",
        &["result"],
    )
}

pub(crate) fn bucket_duration(registry: &Registry) -> Result<Histogram, prometheus::Error> {
    plain_histogram(
        registry,
        "crossmount_bucket_request_duration_seconds",
        "Time of a list of objects in the registry's object store, in seconds.",
    )
}

pub(crate) fn redis_requests(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let help = "Requests to Redis, requests that were skipped because it was not usable, and changes that were dropped because the queue was full, by result.";
    counter(
        registry,
        "crossmount_redis_requests_total",
        help,
        &["result"],
    )
}

pub(crate) fn redis_duration(registry: &Registry) -> Result<Histogram, prometheus::Error> {
    let help = "Time of a request to Redis, in seconds.";
    plain_histogram(registry, "crossmount_redis_seconds", help)
}

pub(crate) fn ready(registry: &Registry) -> Result<IntGauge, prometheus::Error> {
    let help = "1 while /readyz answers 200, checked at each scrape.";
    gauge(registry, "crossmount_ready", help)
}

pub(crate) fn certificate_expiry(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let options = Opts::new(
        "crossmount_certificate_expiry_timestamp_seconds",
        "Expiry of a certificate, in seconds since 1970, by where it is used.",
    );
    let gauge = IntGaugeVec::new(options, &["place"])?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

pub(crate) fn log_lines_dropped(registry: &Registry) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(
        "crossmount_log_lines_dropped_total",
        "Log lines that were dropped because standard error was read too slowly.",
    )?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

pub(crate) fn build_info(registry: &Registry) -> Result<(), prometheus::Error> {
    let options = Opts::new(
        "crossmount_build_info",
        "Always 1. The label is the version of crossmount.",
    )
    .const_label("version", env!("CARGO_PKG_VERSION"));
    let info = IntGauge::with_opts(options)?;
    info.set(1);
    registry.register(Box::new(info))
}
