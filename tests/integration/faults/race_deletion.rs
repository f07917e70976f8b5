//! Mounts race with the deletion of their source: by the API, and by an operator's `rm -r`.

use super::mount_load::{Attempt, Layer, Mounters, all_are_readable};
use crate::{needs, support};
use serde_json::Value;
use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::figures::{amount, note};
use support::registry::Registry;
use support::registry_client::Client;
use support::sidecar::{Sidecar, generous_time_budget};
use support::{bytes_from, wait_until};

const CLIENTS: usize = 4;

/// One layer is mounted by several clients while `delete` takes its source away.
struct Race<'a> {
    registry: &'a Registry,
    sidecar: &'a Sidecar,
    round: usize,
}

impl Race<'_> {
    /// Returns how many mounts were made and how many of them were answered 201.
    fn run(&self, delete: impl Fn(&Layer)) -> (usize, usize) {
        let (registry, sidecar, round) = (self.registry, self.sidecar, self.round);
        let bytes = bytes_from(&format!("deleted in {round}"), 2000);
        let source = format!("source{round}/of/layers");
        let digest = sidecar.client().upload(&source, &bytes);
        let layer = Layer { source, digest };
        let name = format!("round{round}");
        let mounters = Mounters::new(
            sidecar.client(),
            &name,
            std::slice::from_ref(&layer),
            Duration::ZERO,
        );
        let mut gone = None;
        let attempts = mounters.during(CLIENTS, || {
            // Not always at the same point of a mount.
            mounters.wait_for(5 + round % 7, Attempt::is_mounted);
            delete(&layer);
            gone = Some(Instant::now());
            mounters.wait_for(CLIENTS, |_| true);
        });
        let gone = gone.unwrap();
        for attempt in &attempts {
            let status = attempt.status;
            assert!([Some(201), Some(202)].contains(&status), "{attempt:?}");
            let is_late = attempt.began > gone;
            assert!(!(is_late && attempt.is_mounted()), "{attempt:?}");
        }
        (attempts.len(), all_are_readable(registry, &attempts))
    }
}

/// A folder that stands still for a moment is not what is looked at here.
fn patient(registry: &Registry) -> Sidecar {
    let sidecar = Sidecar::with(registry, generous_time_budget);
    sidecar.verify_store();
    sidecar
}

fn races(tried: &str, registry: &Registry, delete: impl Fn(&Layer, usize, &Sidecar)) {
    let sidecar = patient(registry);
    let (mut all, mut mounted) = (0, 0);
    for round in 0..amount(12, 300) {
        let race = Race {
            registry,
            sidecar: &sidecar,
            round,
        };
        let (more, more_mounted) = race.run(|layer| delete(layer, round, &sidecar));
        all += more;
        mounted += more_mounted;
    }
    assert_eq!(registry.store.stray_files(), [""; 0]);
    note(
        "Races",
        tried,
        all as u64,
        &format!("{mounted} answered 201, each readable; none that began after the deletion"),
    );
}

#[test]
fn a_mount_that_races_with_a_delete_of_its_source_is_readable_or_an_upload() {
    needs!("docker-registry");
    // The registry's cache vouches for what it has seen.
    let registry = Registry::with_hot_cache();
    let tried = "mounts race with DELETE of the source's layer, through crossmount and past it";
    races(tried, &registry, |layer, round, sidecar| {
        let client = if round % 2 == 0 {
            sidecar.client()
        } else {
            registry.client()
        };
        let path = format!("/v2/{}/blobs/{}", layer.source, layer.digest);
        client
            .request("DELETE", &path)
            .send(client.port)
            .expect(202);
    });
}

#[test]
fn a_mount_that_races_with_the_removal_of_its_source_directory_is_readable_or_an_upload() {
    needs!("docker-registry");
    let registry = Registry::with_hot_cache();
    let tried = "mounts race with the removal of the source repository's directory";
    races(tried, &registry, |layer, _, _| {
        fs::remove_dir_all(registry.store.repository(&layer.source)).unwrap();
    });
}

/// Removes what is in use there, and the rest as far as a moment suffices: a fast registry makes
/// folders faster than anybody removes them.
fn remove_newest(folder: &Path) {
    let begun = Instant::now();
    let entries = fs::read_dir(folder.join("soon")).into_iter().flatten();
    let mut targets: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let number = |target: &PathBuf| target.file_name()?.to_str()?.parse::<usize>().ok();
    targets.sort_by_key(|target| Reverse(number(target)));
    for target in targets {
        if begun.elapsed() > Duration::from_millis(50) {
            return;
        }
        // Others make folders in it meanwhile.
        let _ = fs::remove_dir_all(target);
    }
    let _ = fs::remove_dir(folder.join("soon"));
    let _ = fs::remove_dir(folder);
}

/// Mounts of `layer` into a repository whose folder is removed again and again; all of them, and when
/// the folder was removed last.
fn during_removals(registry: &Registry, client: Client, layer: &Layer) -> (Vec<Attempt>, Instant) {
    let layers = std::slice::from_ref(layer);
    let mounters = Mounters::new(client, "gone/soon", layers, Duration::ZERO);
    let mut last = None;
    let attempts = mounters.during(CLIENTS, || {
        for round in 0..amount(30, 1000) {
            mounters.wait_for(2, |_| true);
            let mut folder = registry.store.repository("gone");
            if round % 2 == 1 {
                // All of it at once, under whoever is at work in it.
                let aside = tempfile::tempdir_in(registry.home()).unwrap().keep();
                let aside = aside.join("gone");
                if fs::rename(&folder, &aside).is_ok() {
                    folder = aside;
                }
            }
            remove_newest(&folder);
            last = Some(Instant::now());
        }
        mounters.wait_for(CLIENTS, Attempt::is_mounted);
    });
    let is_known = |attempt: &Attempt| [Some(201), Some(202), Some(500)].contains(&attempt.status);
    let strange: Vec<_> = attempts.iter().filter(|it| !is_known(it)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    (attempts, last.unwrap())
}

fn failures(attempts: &[Attempt]) -> usize {
    let failed = attempts.iter().filter(|it| it.status == Some(500));
    failed.count()
}

/// What the sidecar's log says of requests that were answered 500.
fn lines_of_500(sidecar: &Sidecar) -> Vec<Value> {
    let mut lines = sidecar.log_lines();
    lines.retain(|line| line["status"] == 500);
    lines
}

/// The folders that a mount has just made may go away under it.
#[test]
fn a_mount_that_races_with_the_removal_of_its_target_fails_no_later_one() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = patient(&registry);
    let digest = sidecar
        .client()
        .upload("source", b"a layer whose targets go away");
    let layer = Layer {
        source: "source".to_owned(),
        digest,
    };
    // The registry itself answers 500 where a folder goes away under its upload.
    let (alone, _) = during_removals(&registry, registry.client(), &layer);
    let (attempts, last) = during_removals(&registry, sidecar.client(), &layer);
    let failed = failures(&attempts);
    wait_until("each 500 has its line", || {
        lines_of_500(&sidecar).len() >= failed
    });
    for line in lines_of_500(&sidecar) {
        assert!(
            line["upstream_seconds"].is_number(),
            "not the registry's: {line}"
        );
    }
    let after = attempts.iter().filter(|attempt| attempt.began > last);
    let mounted = all_are_readable(&registry, after);
    assert!(mounted >= CLIENTS);
    assert!(sidecar.metric("crossmount_requests_in_flight", &[]) < 1.0);
    note(
        "Races",
        "mounts race with the removal of the target repository's directory",
        attempts.len() as u64,
        &format!(
            "201, 202, or {failed} times the registry's own 500 (by the registry alone {} in {}); \
             each mount after the removal readable",
            failures(&alone),
            alone.len(),
        ),
    );
}
