//! Good blobs are vouched for once they were hashed, and nobody waits for that.

use super::{
    Damage, SIZE, alarms, discovering, hashed, mount_until, verify_blobs, verifying, waiting,
};
use crate::{needs, support};
use serde_json::json;
use std::time::{Duration, Instant};
use support::bytes_from;
use support::registry::Registry;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::Sidecar;
use support::wait_until;

#[test]
fn a_blob_is_mounted_by_the_registry_until_it_is_found_good_and_here_from_then_on() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = verifying(&registry, verify_blobs);
    let client = sidecar.client();
    let bytes = bytes_from("good", SIZE);
    let digest = client.upload("source", &bytes);
    client.mount("first", &digest, "source").expect(201);
    assert_eq!(sidecar.mounts("native", "blob_unverified"), 1);
    assert_eq!(sidecar.mounted(), 0);
    wait_until("it is found good", || hashed(&sidecar, "good") == 1);
    for target in ["one", "two"] {
        client.mount(target, &digest, "source").expect(201);
        assert_eq!(registry.client().pull(target, &digest), bytes);
    }
    client.mount("two", &digest, "one").expect(201);
    assert_eq!(sidecar.mounted(), 2);
    assert_eq!(sidecar.mounts("already_linked", "none"), 1);
    assert_eq!(hashed(&sidecar, "good"), 1, "once");
    assert_eq!(waiting(&sidecar), 0);
    alarms(&sidecar, 0);
}

#[test]
fn a_registry_that_mounts_nothing_gets_an_unverified_mount_as_it_came() {
    let registry = ScriptedRegistry::start(|_| None);
    let digest = registry.plant("source", b"a layer");
    let sidecar = registry.sidecar(verify_blobs);
    let client = sidecar.client();
    let target = support::registry_client::mount_target("target", &digest, "source");
    client.mount("target", &digest, "source").expect(202);
    let heard = registry.heard("POST");
    let heard: Vec<_> = heard.iter().filter(|it| !it.is_the_sidecars()).collect();
    assert_eq!(heard.last().unwrap().target, target);
    assert_eq!(sidecar.mounts("forwarded", "blob_unverified"), 1);
    wait_until("it is found good", || hashed(&sidecar, "good") == 1);
    client.mount("target", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn a_head_comes_true_only_once_the_blob_was_found_good() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = verifying(&registry, discovering);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    client.head_blob("app", &digest).expect(404);
    assert!(!registry.store.has_link("app", &digest));
    assert_eq!(sidecar.mounts("forwarded", "blob_unverified"), 1);
    wait_until("it is found good", || hashed(&sidecar, "good") == 1);
    client.head_blob("app", &digest).expect(200);
    assert!(registry.store.has_link("app", &digest));
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn a_dry_run_counts_what_would_be_vouched_for() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = verifying(&registry, |config| {
        verify_blobs(config);
        config["mount"]["dry_run"] = json!(true);
    });
    let client = sidecar.client();
    let digest = client.upload("source", b"only counted");
    mount_until(&sidecar, &digest, "good");
    assert_eq!(sidecar.mounts("native", "blob_unverified"), 1);
    client.mount("target", &digest, "source").expect(201);
    assert_eq!(sidecar.mounts("would_mount", "none"), 1);
    Damage::Flipped.happens_to(&registry.store, &digest, b"only counted", 3);
    mount_until(&sidecar, &digest, "damaged");
    client.mount("again", &digest, "source").expect(202);
    assert_eq!(sidecar.mounts("forwarded", "blob_damaged"), 1);
    assert_eq!(sidecar.mounts("would_mount", "none"), 1);
}

#[test]
fn no_request_waits_for_a_blob_that_is_being_hashed() {
    needs!("docker-registry");
    let registry = Registry::start();
    let mut sidecar = verifying(&registry, |config| {
        verify_blobs(config);
        // A quarter of an hour for the blob below.
        config["store"]["verify_rate"] = "1KiB".into();
        config["shutdown"] = json!({"drain_delay": "0s"});
    });
    let client = sidecar.client();
    let bytes = bytes_from("large", 1 << 20);
    let digest = client.upload("source", &bytes);
    client.mount("first", &digest, "source").expect(201);
    assert_eq!(waiting(&sidecar), 1);
    for turn in 0..20 {
        let small = client.upload("small", format!("small {turn}").as_bytes());
        client.pull("small", &small);
        client.mount("other", &small, "small").expect(201);
        client.mount("first", &digest, "source").expect(201);
    }
    assert_eq!(client.pull("first", &digest), bytes);
    // Each waits once, behind the large one, and the registry mounts meanwhile.
    assert_eq!(waiting(&sidecar), 21);
    assert_eq!(hashed(&sidecar, "good"), 0);
    assert_eq!(sidecar.mounts("native", "blob_unverified"), 41);
    sidecar.signal(rustix::process::Signal::TERM);
    assert!(sidecar.wait_for_exit().success());
}

#[test]
fn a_blob_is_hashed_no_faster_than_the_rate_allows() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = verifying(&registry, |config| {
        verify_blobs(config);
        config["store"]["verify_rate"] = "100KiB".into();
    });
    let digest = sidecar
        .client()
        .upload("source", &bytes_from("paced", SIZE));
    let begin = Instant::now();
    mount_until(&sidecar, &digest, "good");
    // Three seconds' worth, of which the last piece is paid for after it was read.
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(2500), "{took:?}");
}

#[test]
fn a_caller_who_may_not_pull_makes_nothing_be_hashed() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let sidecar = Sidecar::with(&registry, |config| {
        verify_blobs(config);
        config["access"] = json!({"mode": "upstream"});
    });
    let alice = sidecar.client().basic("alice", "right");
    sidecar.verify_store_as(&alice);
    let digest = alice.upload("source", b"a layer");
    for nobody in [sidecar.client(), sidecar.client().basic("alice", "wrong")] {
        nobody.mount("target", &digest, "source").expect(401);
    }
    assert_eq!((hashed(&sidecar, "good"), waiting(&sidecar)), (0, 0));
    alice.mount("target", &digest, "source").expect(201);
    wait_until("it is found good", || hashed(&sidecar, "good") == 1);
}
