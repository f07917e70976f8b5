//! Disks that are full, slow or broken: the push goes on without us.

use crate::{needs, support};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};
use support::registry::Registry;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::{Sidecar, generous_time_budget};
use support::strace::{WRITE_OUT, inject_faults, record_calls};
use support::{raw_http, wait_until};

const BLOB: &[u8] = b"a blob on a bad disk";
const SYNC: &str = "fsync,fdatasync";
/// What makes a link visible.
const LINK: &str = "linkat";
const MKDIR: &str = "mkdir,mkdirat";

/// Whether strace has noted such a call already.
fn has_recorded(log: &Path, word: &str) -> bool {
    fs::read_to_string(log).unwrap_or_default().contains(word)
}

#[test]
fn a_disk_that_fails_leaves_the_mount_to_the_registry() {
    needs!("docker-registry", "strace");
    for (calls, error) in [
        (SYNC, "EIO"),
        (LINK, "ENOSPC"),
        (LINK, "EROFS"),
        (MKDIR, "ENOSPC"),
        (MKDIR, "EACCES"),
    ] {
        let registry = Registry::start();
        let log = registry.home().join("trace");
        let fault = format!("{calls}:error={error}");
        let mut config = support::sidecar::config(&registry.url(), &registry.store.root);
        fs::create_dir_all(&registry.store.root).unwrap();
        generous_time_budget(&mut config);
        let sidecar = Sidecar::launch(inject_faults(&[&fault], &log), &config);
        sidecar.verify_store();
        let client = sidecar.client();
        let digest = client.upload("a", BLOB);
        for target in ["b", "b/c"] {
            client.mount(target, &digest, "a").expect(201);
            assert_eq!(client.pull(target, &digest), BLOB, "{fault}");
        }
        assert!(has_recorded(&log, "INJECTED"), "{fault}");
        assert_eq!(sidecar.mounted(), 0, "{fault}");
        assert_eq!(
            sidecar.mounts_with_reason("store_error"),
            2,
            "{fault}: {:?}",
            sidecar.all_mounts()
        );
        assert_eq!(registry.store.stray_files(), [""; 0], "{fault}");
    }
}

#[test]
fn a_file_in_place_of_a_directory_forwards_the_mount() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let digest = client.upload("a", BLOB);
    fs::create_dir_all(registry.store.repository("b")).unwrap();
    fs::write(registry.store.repository("b").join("_layers"), "").unwrap();
    client.mount("b", &digest, "a").expect(202);
    assert_eq!(sidecar.mounts("forwarded", "store_error"), 1);
    client.mount("c", &digest, "a").expect(201);
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn a_slow_disk_leaves_the_mount_to_the_registry_and_is_not_written_late() {
    needs!("strace");
    let registry = ScriptedRegistry::start(|_| None);
    let log = tempfile::tempdir().unwrap();
    let log = log.path().join("trace");
    let slow = format!("{WRITE_OUT}:delay_enter=6000000");
    let command = record_calls(&format!("{WRITE_OUT},{LINK}"), &[&slow], &log);
    let sidecar = registry.sidecar_by(command, |config| {
        config["mount"] = json!({"time_budget": "500ms"});
    });
    let digest = registry.plant("source", BLOB);
    let start = Instant::now();
    sidecar
        .client()
        .mount("target", &digest, "source")
        .expect(202);
    assert!(start.elapsed() < Duration::from_millis(5800));
    assert_eq!(sidecar.mounts("forwarded", "timeout"), 1);
    // The late job ends, and makes nothing visible.
    wait_until("the slow call is over", || has_recorded(&log, "DELAYED"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!has_recorded(&log, LINK));
    assert!(!registry.store.link("target", &digest).exists());
}

#[test]
fn a_blob_that_goes_away_meanwhile_is_not_vouched_for() {
    needs!("strace");
    let registry = ScriptedRegistry::start(|_| None);
    let log = tempfile::tempdir().unwrap();
    let slow = format!("{LINK}:delay_enter=2000000");
    let command = inject_faults(&[&slow], &log.path().join("trace"));
    let sidecar = registry.sidecar_by(command, generous_time_budget);
    let digest = registry.plant("source", BLOB);
    let client = sidecar.client();
    let answer = std::thread::scope(|scope| {
        let mount = scope.spawn(|| client.mount("target", &digest, "source"));
        wait_until("the link is being written", || {
            !registry.store.unlinked_folders().is_empty()
        });
        fs::remove_file(registry.store.data(&digest)).unwrap();
        mount.join().unwrap()
    });
    answer.expect(202);
    assert_eq!(sidecar.mounts("forwarded", "blob_missing"), 1);
    assert_eq!(sidecar.mounted(), 0);
    // The link stays: the upload that follows makes it whole.
    let link = fs::read_to_string(registry.store.link("target", &digest)).unwrap();
    assert_eq!(link, digest);
    let post = registry.heard("POST").pop().unwrap();
    assert!(!post.target.contains("mount="), "{}", post.target);
}

#[test]
fn other_requests_do_not_wait_for_a_slow_disk() {
    needs!("docker-registry", "strace");
    let registry = Registry::start();
    let log = registry.home().join("trace");
    let slow = format!("{WRITE_OUT}:delay_enter=2000000");
    let mut config = support::sidecar::config(&registry.url(), &registry.store.root);
    fs::create_dir_all(&registry.store.root).unwrap();
    generous_time_budget(&mut config);
    let sidecar = Sidecar::launch(inject_faults(&[&slow], &log), &config);
    sidecar.verify_store();
    let client = sidecar.client();
    let digest = client.upload("a", BLOB);
    std::thread::scope(|scope| {
        let mounts: Vec<_> = (0..4)
            .map(|at| {
                let (client, digest) = (&client, &digest);
                scope.spawn(move || client.mount(&format!("b{at}"), digest, "a"))
            })
            .collect();
        wait_until("a link is being written", || {
            !registry.store.unlinked_folders().is_empty()
        });
        let mut passed = 0;
        while !mounts[0].is_finished() {
            assert_eq!(client.pull("a", &digest), BLOB);
            passed += 1;
        }
        assert!(passed > 10, "only {passed} pulls beside slow mounts");
        for mount in mounts {
            mount.join().unwrap().expect(201);
        }
    });
    assert_eq!(sidecar.mounted(), 4);
}

#[test]
fn mounts_that_wait_for_a_slow_disk_do_not_make_it_unready() {
    needs!("strace");
    let registry = ScriptedRegistry::start(|_| None);
    let log = tempfile::tempdir().unwrap();
    let slow = format!("{WRITE_OUT}:delay_enter=3000000");
    let command = inject_faults(&[&slow], &log.path().join("trace"));
    let sidecar = registry.sidecar_by(command, |config| {
        config["store"]["durability"] = "file".into();
        config["mount"] = json!({"time_budget": "60s"});
    });
    let digest = registry.plant("source", BLOB);
    let client = sidecar.client();
    std::thread::scope(|scope| {
        let mounts: Vec<_> = (0..24)
            .map(|at| {
                let (client, digest) = (&client, &digest);
                scope.spawn(move || client.mount(&format!("target{at}"), digest, "source"))
            })
            .collect();
        wait_until("many links wait for the disk", || {
            registry.store.unlinked_folders().len() >= 8
        });
        let mut asked = 0;
        while !mounts.iter().any(ScopedJoinHandle::is_finished) {
            let ready = raw_http::get(sidecar.admin, "/readyz");
            assert_eq!(ready.status, 200, "{}", ready.text());
            client.get("/v2/").expect(200);
            asked += 1;
        }
        assert!(asked > 3, "asked only {asked} times beside slow mounts");
        // Those that wait until the registry's word is too old are left to the registry.
        let done = mounts.into_iter().map(|mount| mount.join().unwrap().status);
        let done = done.filter(|status| *status == 201).count() as u64;
        assert!(done > 0, "{:?}", sidecar.all_mounts());
        assert_eq!(sidecar.mounted(), done);
    });
}
