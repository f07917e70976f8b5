//! The walk through the store.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};
use support::discovery::discover_on_head;
use support::registry::Registry;
use support::sidecar::{self, Sidecar};
use support::sidecar_metrics::whole;
use support::strace::record_calls_at;

fn walked(registry: &Registry, change: impl FnOnce(&mut Value)) -> Sidecar {
    let sidecar = Sidecar::with(registry, |config| {
        discover_on_head(config);
        change(config);
    });
    sidecar.wait_for_scan();
    sidecar
}

fn scanned_items(sidecar: &Sidecar, kind: &str) -> u64 {
    whole(sidecar.metric("crossmount_store_scan_items_total", &[("kind", kind)]))
}

#[test]
fn what_was_there_before_the_start_is_found() {
    needs!("docker-registry");
    let registry = Registry::start();
    let direct = registry.client();
    let digests: Vec<_> = ["a", "a/b", "c"]
        .iter()
        .map(|name| direct.upload(name, name.as_bytes()))
        .collect();
    let sidecar = walked(&registry, |_| ());
    for what in ["link", "repository"] {
        assert_eq!(scanned_items(&sidecar, what), 3, "{what}");
    }
    let links = sidecar.metric("crossmount_index_links", &[]);
    assert!((links - 3.0).abs() < 0.5, "{links}");
    sidecar.wait_for_log("store scan completed");
    sidecar.verify_store();
    for digest in &digests {
        sidecar.client().head_blob("app", digest).expect(200);
    }
}

#[test]
fn what_a_killed_process_left_behind_is_removed_and_nothing_else() {
    needs!("docker-registry");
    let registry = Registry::start();
    let digest = registry.client().upload("a", b"a layer");
    let folder = registry.store.link("a", &digest);
    let folder = folder.parent().unwrap();
    let old = SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    let uuid = "0190b3a2-8a4e-4c31-9d3c-0d6f3d2f8e11";
    let name = |prefix: &str| folder.join(format!("{prefix}{uuid}.tmp"));
    let (ours, registrys) = (name("link.crossmount."), name("link."));
    for file in [&ours, &registrys] {
        File::create(file).unwrap().set_modified(old).unwrap();
    }
    let sidecar = walked(&registry, |_| ());
    assert!(!ours.exists());
    assert!(registrys.exists());
    assert_eq!(
        fs::read(registry.store.link("a", &digest)).unwrap(),
        digest.as_bytes()
    );
    sidecar.wait_for_log("stale temporary file removed");
}

#[test]
fn a_dry_run_removes_nothing() {
    needs!("docker-registry");
    let registry = Registry::start();
    let digest = registry.client().upload("a", b"a layer");
    let uuid = "0190b3a2-8a4e-4c31-9d3c-0d6f3d2f8e11";
    let link = registry.store.link("a", &digest);
    let left = link.with_file_name(format!("link.crossmount.{uuid}.tmp"));
    let old = SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    File::create(&left).unwrap().set_modified(old).unwrap();
    walked(&registry, |config| {
        config["mount"]["dry_run"] = json!(true);
    });
    assert!(left.exists());
}

#[test]
fn an_unreadable_directory_is_skipped() {
    needs!("docker-registry", "strace");
    let registry = Registry::start();
    let direct = registry.client();
    let digests: Vec<_> = ["a", "broken/one", "broken/two", "c"]
        .iter()
        .map(|name| direct.upload(name, name.as_bytes()))
        .collect();
    let home = tempfile::tempdir().unwrap();
    let store = registry.store.top().join("repositories/broken");
    let (place, log) = (Path::new("repositories/broken"), home.path().join("trace"));
    let command = record_calls_at(&[place, &store], "openat", &["openat:error=EIO"], &log);
    let mut config = sidecar::config(&registry.url(), &registry.store.root);
    discover_on_head(&mut config);
    let sidecar = Sidecar::launch(command, &config);
    sidecar.wait_for_scan();
    assert_eq!(scanned_items(&sidecar, "unreadable"), 1);
    assert_eq!(scanned_items(&sidecar, "repository"), 2);
    sidecar.wait_for_log("store scan skipped an unreadable entry");
    sidecar.verify_store();
    sidecar.client().head_blob("app", &digests[3]).expect(200);
}

#[test]
fn a_store_that_does_not_exist_yet_is_no_fault() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let digest = sidecar.client().upload("base", b"a layer");
    sidecar.client().head_blob("app", &digest).expect(200);
}
