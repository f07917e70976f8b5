//! Mounts race with the registry's garbage collection, made as the documentation says.

use super::held_collector::{Collector, plant_garbage};
use super::mount_load::{Attempt, Layer, Mounters, all_are_readable, is_readable};
use crate::{needs, support};
use std::time::{Duration, Instant};
use support::bytes_from;
use support::figures::{amount, note};
use support::image::Image;
use support::registry::Registry;
use support::sidecar::Sidecar;

const CLIENTS: usize = 3;
/// The documentation asks to wait so long between the registry's last write and the collector.
const DOCUMENTED_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
struct Way {
    /// Else it is stopped.
    read_only: bool,
    /// Nobody asks anything while the registry is switched, so that the sidecar does not notice.
    in_silence: bool,
    deletes_untagged: bool,
}

/// Mounts of which a collection was in the midst.
#[derive(Default)]
struct Collected {
    mounts: usize,
    /// Answered 201, and read back afterwards.
    readable: usize,
    /// Answered 201, of layers that no manifest named when the collector came.
    lost: usize,
}

struct World {
    registry: Registry,
    sidecar: Sidecar,
}

impl World {
    fn start() -> Self {
        let registry = Registry::with_hot_cache();
        let sidecar = Sidecar::with_verified_store(&registry);
        Self { registry, sidecar }
    }

    /// A layer that a tagged manifest names, one of an untagged one, and one that nothing names.
    fn layers(&self, round: usize) -> [Layer; 3] {
        let client = self.sidecar.client();
        let image = |name: &str| Image::of(&[&format!("{name} in {round}")], 1000);
        let (kept, untagged) = (image("kept"), image("untagged"));
        kept.push(&client, "kept", &format!("v{round}"));
        // The collector fails in a repository that has manifests and no tag at all.
        kept.push(&client, "untagged", &format!("v{round}"));
        untagged.push(&client, "untagged", &untagged.manifest.digest);
        let loose = client.upload("loose", &bytes_from(&format!("loose in {round}"), 1000));
        let layer = |source: &str, digest: &str| Layer {
            source: source.to_owned(),
            digest: digest.to_owned(),
        };
        [
            layer("kept", &kept.layers[0].digest),
            layer("untagged", &untagged.layers[0].digest),
            layer("loose", &loose),
        ]
    }

    fn switch(&mut self, way: Way, on: bool) {
        if way.read_only {
            self.registry.read_only(on);
            self.registry.restart();
        } else if on {
            self.registry.kill();
        } else {
            self.registry.resume();
        }
    }

    fn collect(&mut self, way: Way, round: usize) -> Collected {
        let layers = self.layers(round);
        plant_garbage(&self.registry.store, &format!("{round}"));
        let pause = Duration::from_millis(20);
        let name = format!("round{round}");
        let mounters = Mounters::new(self.sidecar.client(), &name, &layers, pause);
        let mut times = None;
        let attempts = mounters.during(CLIENTS, || {
            mounters.wait_for(30, Attempt::is_mounted);
            mounters.pause(way.in_silence);
            if way.in_silence {
                std::thread::sleep(Duration::from_millis(300));
            }
            self.switch(way, true);
            mounters.pause(false);
            std::thread::sleep(DOCUMENTED_WAIT);
            let began = Instant::now();
            let collector = Collector::begin(&self.registry, way.deletes_untagged);
            mounters.wait_for(60, |_| true);
            collector.finish();
            mounters.wait_for(30, |_| true);
            let ended = Instant::now();
            self.switch(way, false);
            mounters.wait_for(30, |it| it.status.is_some_and(|status| status < 500));
            times = Some((began, ended));
        });
        let (began, ended) = times.unwrap();
        let deleted = |attempt: &Attempt| {
            attempt.layer == layers[2] || way.deletes_untagged && attempt.layer == layers[1]
        };
        for attempt in &attempts {
            let is_during = attempt.is_within(began, ended);
            assert!(!(is_during && attempt.is_mounted()), "{way:?}: {attempt:?}");
        }
        // What no manifest named when the collector came is its own, mounted or not.
        let (lost, kept): (Vec<_>, Vec<_>) = attempts
            .iter()
            .partition(|attempt| deleted(attempt) && attempt.ended < began);
        let readable = all_are_readable(&self.registry, kept);
        let lost: Vec<_> = lost.into_iter().filter(|it| it.is_mounted()).collect();
        assert!(!lost.is_empty() && readable > 0);
        assert!(!lost.iter().any(|it| is_readable(&self.registry, it)));
        self.uploads_mend(&lost, round);
        Collected {
            mounts: attempts.len(),
            readable,
            lost: lost.len(),
        }
    }

    /// The layer that is lost is no longer mounted, and one upload makes all of its links whole.
    fn uploads_mend(&self, lost: &[&Attempt], round: usize) {
        let client = self.sidecar.client();
        self.sidecar.verify_store();
        let bytes = bytes_from(&format!("loose in {round}"), 1000);
        let digest = support::digest_of(&bytes);
        client.mount("late", &digest, "loose").expect(202);
        client.upload("late", &bytes);
        let mut mended = lost.iter().filter(|it| it.layer.digest == digest);
        assert!(mended.all(|it| is_readable(&self.registry, it)));
        client.mount("later", &digest, "loose").expect(201);
        assert_eq!(self.registry.client().pull("later", &digest), bytes);
    }
}

/// Each of these collections has a registry of its own.
fn collections(tried: &str, ways: [Way; 2]) {
    let mut world = World::start();
    let mut all = Collected::default();
    let rounds = amount(1, 8);
    for round in 0..rounds {
        let more = world.collect(ways[round % 2], round);
        all.mounts += more.mounts;
        all.readable += more.readable;
        all.lost += more.lost;
    }
    let Collected { readable, lost, .. } = all;
    note(
        "Races",
        &format!("mounts before, during and after a garbage collection, {tried}"),
        all.mounts as u64,
        &format!(
            "{rounds} collections; none answered 201 while it ran; {readable} answered 201 before \
             or after it, each readable; {lost} more before it, of layers that no manifest named, \
             which the collector takes wherever they are"
        ),
    );
}

#[test]
fn a_documented_garbage_collection_deletes_no_mounted_layer() {
    needs!("docker-registry");
    let way = |read_only, in_silence, deletes_untagged| Way {
        read_only,
        in_silence,
        deletes_untagged,
    };
    let read_only = [way(true, false, true), way(true, false, false)];
    let unnoticed = [way(true, true, false), way(true, true, true)];
    let stopped = [way(false, true, false), way(false, false, false)];
    // At the same time, because most of it is waiting.
    std::thread::scope(|scope| {
        for (tried, ways) in [
            ("the registry read-only", read_only),
            (
                "the registry turned read-only while no client asked it anything",
                unnoticed,
            ),
            ("the registry stopped", stopped),
        ] {
            scope.spawn(move || collections(tried, ways));
        }
    });
}
