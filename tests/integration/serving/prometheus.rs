//! What Prometheus makes of the metrics, asked of the real one.

use crate::{needs, support};
use std::io::Write as _;
use std::process::{Command, Stdio};
use support::prometheus::Prometheus;
use support::raw_http;
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::{digest_of, wait_until};

/// Every name that dashboards and alerts may rely on, but for the one that needs a certificate.
const METRICS: &[&str] = &[
    "crossmount_mounts_total",
    "crossmount_mounted_bytes_total",
    "crossmount_dry_run_bytes_total",
    "crossmount_uploaded_bytes_total",
    "crossmount_mount_duration_seconds_bucket",
    "crossmount_access_decisions_total",
    "crossmount_store_operation_duration_seconds_bucket",
    "crossmount_upstream_request_duration_seconds_bucket",
    "crossmount_requests_total",
    "crossmount_request_duration_seconds_bucket",
    "crossmount_requests_in_flight",
    "crossmount_ready",
    "crossmount_log_lines_dropped_total",
    "crossmount_build_info",
];

/// A sidecar that has mounted and forwarded, and its registry.
fn busy() -> (Registry, Sidecar) {
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let digest = registry.client().upload("source", b"twelve bytes");
    for target in ["one", "other"] {
        client.mount(target, &digest, "source").expect(201);
    }
    let unknown = digest_of(b"unheard of");
    client.mount("one", &unknown, "source").expect(202);
    (registry, sidecar)
}

#[test]
fn prometheus_has_nothing_to_say_against_the_metrics() {
    needs!("docker-registry", "promtool");
    let (_registry, sidecar) = busy();
    let metrics = raw_http::get(sidecar.admin, "/metrics").expect(200).text();
    for name in METRICS {
        let is_there = metrics.lines().any(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        assert!(is_there, "{name}");
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(metrics.as_bytes()).unwrap();
    drop(input);
    let said = promtool.wait_with_output().unwrap();
    let words = [said.stdout, said.stderr].concat();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&words));
    assert_eq!(String::from_utf8_lossy(&words), "");
}

#[test]
fn prometheus_scrapes_its_mounts() {
    needs!("docker-registry", "prometheus");
    let (_registry, sidecar) = busy();
    let prometheus = Prometheus::of(&sidecar, &[]);
    for (query, value) in [
        ("up{job=\"crossmount\"}", "1"),
        ("sum(crossmount_mounts_total{outcome=\"mounted\"})", "2"),
        ("crossmount_mounted_bytes_total{via=\"from\"}", "24"),
        (
            "sum by (reason) (crossmount_mounts_total{outcome=\"forwarded\"} > 0)",
            "1",
        ),
    ] {
        wait_until(&format!("{query} is {value}"), || {
            prometheus.ask(query).as_deref() == Some(value)
        });
    }
}
