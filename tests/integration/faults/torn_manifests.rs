//! Manifests that a killed registry left cut short.
//!
//! distribution 2.8 writes a manifest into the blob's own file. A kill in between leaves that file
//! empty or cut short. When the client pushes the manifest again, the registry sees that the file
//! is there, keeps it and responds 201. crossmount writes no such file and reads none.

use super::upstream_load::{Absence, Failure, manifest_path};
use crate::{needs, support};
use std::fs;
use std::time::{Duration, Instant};
use support::image::Image;
use support::registry::Registry;
use support::store::Store;
use support::version::version;

/// Whether the manifest's blob is empty or cut short, and a push of it failed while the registry
/// was killed.
pub fn is_torn_by_a_kill(
    store: &Store,
    (repository, image): (&str, &Image),
    failures: &[Failure],
    absences: &[Absence],
) -> bool {
    let target = manifest_path(repository);
    let was_killed = |failure: &&Failure| {
        let kills = absences.iter().map(|absence| absence.kill);
        kills
            .into_iter()
            .any(|(kill, killed)| failure.began <= killed && failure.ended >= kill)
    };
    let mut pushes = failures
        .iter()
        .filter(|it| it.method == "PUT" && it.target == target);
    version().writes_files_in_place()
        && is_cut_short(store, image)
        && pushes.any(|failure| was_killed(&failure))
}

fn is_cut_short(store: &Store, image: &Image) -> bool {
    let whole = &image.manifest.bytes;
    fs::read(store.data(&image.manifest.digest))
        .is_ok_and(|kept| kept.len() < whole.len() && whole.starts_with(&kept))
}

#[test]
fn a_registry_keeps_a_manifest_that_is_cut_short_and_accepts_it() {
    needs!("docker-registry");
    if !version().writes_files_in_place() {
        return;
    }
    let registry = Registry::start();
    let (client, image) = (registry.client(), Image::of(&["a layer"], 1000));
    for blob in image.blobs() {
        client.upload("app", &blob.bytes);
    }
    let data = registry.store.data(&image.manifest.digest);
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    for length in [0, 20] {
        fs::write(&data, &image.manifest.bytes[..length]).unwrap();
        let put = client.put_manifest("app", "v1", &image.manifest.bytes);
        put.expect(201);
        client.get(&manifest_path("app")).expect(500);
        only_a_push_that_failed_at_the_kill_explains_it(&registry.store, &image);
    }
    fs::write(&data, &image.manifest.bytes).unwrap();
    image.pull(&client, "app", "v1");
    let whole = is_torn_by_a_kill(
        &registry.store,
        ("app", &image),
        &[push_of("app", 2, 3)],
        &[away()],
    );
    assert!(!whole);
}

fn at(second: u64) -> Instant {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *BEGIN.get_or_init(Instant::now) + Duration::from_secs(second)
}

/// Asked to end in the first second, killed in the third, back in the fourth.
fn away() -> Absence {
    Absence {
        from: at(1),
        kill: (at(3), at(3)),
        to: at(4),
    }
}

/// A push of a manifest that failed.
fn push_of(repository: &str, began: u64, ended: u64) -> Failure {
    Failure {
        method: "PUT".to_owned(),
        target: manifest_path(repository),
        what: "502".to_owned(),
        began: at(began),
        ended: at(ended),
    }
}

fn only_a_push_that_failed_at_the_kill_explains_it(store: &Store, image: &Image) {
    for (repository, began, ended, explains) in [
        ("app", 2, 5, true),
        ("app", 0, 2, false),
        ("app", 4, 5, false),
        ("other", 2, 5, false),
    ] {
        let failures = [push_of(repository, began, ended)];
        let excused = is_torn_by_a_kill(store, ("app", image), &failures, &[away()]);
        assert_eq!(excused, explains, "{repository} {began} {ended}");
    }
    assert!(!is_torn_by_a_kill(store, ("app", image), &[], &[away()]));
}
