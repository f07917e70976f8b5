//! What the metrics say of mounts, and when.

use crate::{needs, support};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;

/// The count as it is now, whatever is still in flight.
fn counted(sidecar: &Sidecar, outcome: &str, reason: &str) -> u64 {
    let metrics = support::raw_http::get(sidecar.admin, "/metrics").text();
    let sample = format!("crossmount_mounts_total{{outcome=\"{outcome}\",reason=\"{reason}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&sample));
    count
        .unwrap_or_else(|| panic!("{metrics}"))
        .parse()
        .unwrap()
}

#[test]
fn a_dry_run_counts_and_leaves_the_mount_to_the_registry() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, |config| {
        config["mount"]["dry_run"] = serde_json::json!(true);
    });
    sidecar.verify_store();
    let client = sidecar.client();
    let digest = client.upload("a", b"only counted");
    client.mount("b", &digest, "a").expect(201);
    client.pull("b", &digest);
    assert_eq!(sidecar.mounts("would_mount", "none"), 1);
    assert_eq!(sidecar.mounted(), 0);
    let bytes = sidecar.metric("crossmount_dry_run_bytes_total", &[("via", "from")]);
    assert_eq!(whole(bytes), 12);

    client.mount("b", &digest, "nobody/has/it").expect(202);
    assert_eq!(sidecar.mounts("forwarded", "source_missing"), 1);
}

#[test]
fn every_outcome_is_shown_from_the_start() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    assert_eq!(sidecar.all_mounts(), [""; 0]);
    for outcome in ["mounted", "already_linked", "native", "would_mount"] {
        assert_eq!(sidecar.mounts(outcome, "none"), 0);
    }
    for reason in [
        "odd_request",
        "no_credentials",
        "denied",
        "source_missing",
        "blob_missing",
        "blob_unverified",
        "blob_damaged",
        "read_only",
        "upstream_unavailable",
        "access_mismatch",
        "store_error",
        "timeout",
        "overload",
    ] {
        assert_eq!(sidecar.mounts("forwarded", reason), 0);
    }
}

#[test]
fn a_mount_is_counted_before_its_response_arrives() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let digest = client.upload("a", b"counted at once");
    for turn in 1..=50 {
        let target = format!("b{turn}");
        client.mount(&target, &digest, "a").expect(201);
        assert_eq!(counted(&sidecar, "mounted", "none"), turn);
        client.mount(&target, &digest, "a").expect(201);
        assert_eq!(counted(&sidecar, "already_linked", "none"), turn);
        client.mount(&target, &digest, "not/there").expect(202);
        assert_eq!(counted(&sidecar, "forwarded", "source_missing"), turn);
    }
}

#[test]
fn bytes_of_blobs_that_clients_upload_are_counted_while_they_stream() {
    const PIECE: &[u8] = &[7; 1000];
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    let client = sidecar.client();
    let uploaded = || whole(sidecar.metric("crossmount_uploaded_bytes_total", &[]));
    assert_eq!(uploaded(), 0);
    client.upload("in-one", PIECE);
    assert_eq!(uploaded(), 1000);
    let opened = client.begin("in-pieces").expect(202);
    client.finish_in_pieces(&opened, PIECE, 300).expect(201);
    assert_eq!(uploaded(), 2000);

    // Pulls and manifests are no uploads of blobs.
    client.pull("in-one", &support::digest_of(PIECE));
    let refused = client.put_manifest("in-one", "latest", b"{}");
    assert!(refused.status >= 400);
    assert_eq!(uploaded(), 2000);

    let opened = client.begin("slow").expect(202);
    let mut connection = client.connect();
    let path = opened.location_path();
    let head = format!("PATCH {path} HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.write(head.as_bytes()).unwrap();
    connection.write_chunk(PIECE).unwrap();
    support::wait_until("the first piece is counted before the upload ends", || {
        let metrics = support::raw_http::get(sidecar.admin, "/metrics").text();
        metrics.contains("\ncrossmount_uploaded_bytes_total 3000\n")
    });
    connection.write_chunk(b"").unwrap();
    connection.answer("PATCH").unwrap().expect(202);
    assert_eq!(uploaded(), 3000);
}
