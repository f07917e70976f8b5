//! The walk through the store.

use crate::{needs, support};
use serde_json::json;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::wait_until;

fn walked(registry: &Registry) -> Sidecar {
    let sidecar = Sidecar::with(registry, |config| {
        config["discovery"] = json!({"enabled": true, "on_head": true, "sources": "any"});
    });
    wait_until("the walk is done", || {
        let ended = "crossmount_walk_last_completed_timestamp_seconds";
        sidecar.metric(ended, &[]) > 0.0
    });
    sidecar
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
    let sidecar = walked(&registry);
    for (what, count) in [("link", 3.0), ("repository", 3.0)] {
        let seen = sidecar.metric("crossmount_walk_total", &[("what", what)]);
        assert!((seen - count).abs() < 0.5, "{what} {seen}");
    }
    let links = sidecar.metric("crossmount_index_links", &[]);
    assert!((links - 3.0).abs() < 0.5, "{links}");
    assert!(sidecar.log().contains("the walk through the store is done"));
    sidecar.prove();
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
    let sidecar = walked(&registry);
    assert!(!ours.exists());
    assert!(registrys.exists());
    assert_eq!(
        fs::read(registry.store.link("a", &digest)).unwrap(),
        digest.as_bytes()
    );
    assert!(sidecar.log().contains("left behind"));
}

#[test]
fn a_store_that_does_not_exist_yet_is_no_fault() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, |config| {
        config["discovery"] = json!({"enabled": true, "on_head": true, "sources": "any"});
    });
    sidecar.prove();
    let digest = sidecar.client().upload("base", b"a layer");
    sidecar.client().head_blob("app", &digest).expect(200);
}
