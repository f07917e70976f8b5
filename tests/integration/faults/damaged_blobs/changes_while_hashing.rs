//! The disk changes, or fails, while a blob is looked at.

use super::{Damage, SIZE, hashed, mount_until, verify_blobs, verifying, wait_for_log, waiting};
use crate::{needs, support};
use support::registry::Registry;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::{self, Sidecar, generous_time_budget};
use support::strace::{inject_faults, record_calls_at, recorded_calls};
use support::{bytes_from, wait_until};

#[test]
fn damage_between_the_look_and_the_link_is_not_vouched_for() {
    needs!("strace");
    let registry = ScriptedRegistry::start(|_| None);
    let bytes = bytes_from("meanwhile", SIZE);
    let digest = registry.plant("source", &bytes);
    let home = tempfile::tempdir().unwrap();
    let slow = "linkat:delay_enter=3000000";
    let command = inject_faults(&[slow], &home.path().join("trace"));
    let sidecar = registry.sidecar_by(command, |config| {
        verify_blobs(config);
        generous_time_budget(config);
    });
    mount_until(&sidecar, &digest, "good");
    let client = sidecar.client();
    let store = &registry.store;
    std::thread::scope(|scope| {
        let mount = scope.spawn(|| client.mount("target", &digest, "source"));
        wait_until("the link is about to be in place", || {
            !store.unlinked_folders().is_empty()
        });
        Damage::Flipped.happens_to(store, &digest, &bytes, 0);
        assert!(!store.has_link("target", &digest), "it was there too early");
        mount.join().unwrap().expect(202);
    });
    assert_eq!(sidecar.mounted(), 0);
    assert_eq!(sidecar.mounts("forwarded", "blob_unverified"), 2);
    wait_until("it is found", || hashed(&sidecar, "damaged") == 1);
    // A link is never removed, and is no reason to say yes.
    assert!(store.has_link("target", &digest));
    client.mount("target", &digest, "source").expect(202);
    assert_eq!(sidecar.mounts("forwarded", "blob_damaged"), 1);
}

#[test]
fn a_blob_that_cannot_be_read_is_not_vouched_for_and_is_tried_again() {
    needs!("docker-registry", "strace");
    let registry = Registry::start();
    let digest = registry
        .client()
        .upload("source", &bytes_from("bad sector", SIZE));
    let log = registry.home().join("trace");
    let data = registry.store.data(&digest).canonicalize().unwrap();
    let mut config = sidecar::config(&registry.url(), &registry.store.root);
    verify_blobs(&mut config);
    // The second piece of the first attempt.
    let fault = "read:error=EIO:when=2";
    let command = record_calls_at(&[&data], "read", &[fault], &log);
    let sidecar = Sidecar::launch(command, &config);
    sidecar.verify_store();
    mount_until(&sidecar, &digest, "unreadable");
    let errors = recorded_calls(&log).len();
    assert_eq!(errors, 2, "one piece, and the error");
    assert_eq!(sidecar.mounts("native", "blob_unverified"), 1);
    wait_for_log(&sidecar, "blob read failed");
    mount_until(&sidecar, &digest, "good");
    sidecar
        .client()
        .mount("target", &digest, "source")
        .expect(201);
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn a_blob_that_goes_away_while_it_waits_does_no_harm() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = verifying(&registry, |config| {
        verify_blobs(config);
        config["store"]["verify_rate"] = "30KiB".into();
    });
    let client = sidecar.client();
    // Some seconds for the first, and the others behind it.
    let first = client.upload("source", &bytes_from("first", 100_000));
    let gone = client.upload("source", b"gone");
    let last = client.upload("source", b"last");
    for digest in [&first, &gone, &last] {
        client.mount("target", digest, "source").expect(201);
    }
    std::fs::remove_file(registry.store.data(&gone)).unwrap();
    wait_until("all but one were hashed", || hashed(&sidecar, "good") == 2);
    wait_until("nothing waits", || waiting(&sidecar) == 0);
    client.mount("other", &gone, "source").expect(202);
    assert_eq!(sidecar.mounts("forwarded", "blob_missing"), 1);
    client.mount("other", &last, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
}
