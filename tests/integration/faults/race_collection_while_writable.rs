//! A garbage collection beside a registry that takes writes, which its documentation forbids:
//! what is lost then, with the sidecar and without it.

use super::held_collector::{Collector, plant_garbage};
use crate::{needs, support};
use support::figures::{amount, note};
use support::image::{Blob, Image};
use support::registry::Registry;
use support::registry_client::Client;
use support::sidecar::Sidecar;

/// Candidates of which the collector cannot have deleted all when it is held.
const IMAGES: usize = 40;

/// Pushes an image by mounts; returns whether every answer says that all is well.
fn is_pushed(client: &Client, image: &Image, tag: &str) -> bool {
    let is_there = |blob: &Blob| client.blob("target", &blob.digest).body == blob.bytes;
    let is_mounted = |blob: &Blob| {
        let answer = client.mount("target", &blob.digest, "source");
        answer.status == 201 && is_there(blob)
    };
    image.blobs().all(is_mounted)
        && client
            .put_manifest("target", tag, &image.manifest.bytes)
            .status
            == 201
        && image.blobs().all(is_there)
}

/// Pushes an image whose layers the collector is about to delete. Returns whether it can be read
/// afterwards.
fn is_whole_after(registry: &Registry, client: &Client, seed: &str) -> bool {
    let images: Vec<_> = (0..IMAGES)
        .map(|at| Image::of(&[&format!("{seed} {at}")], 500))
        .collect();
    for image in &images {
        for blob in image.blobs() {
            client.upload("source", &blob.bytes);
        }
    }
    plant_garbage(&registry.store, seed);
    let collector = Collector::begin(registry, false);
    // It goes on until the pipe is full: the first ones may go away in the midst of a push.
    let mut pushed = images.iter().filter(|image| is_pushed(client, image, seed));
    let image = pushed.next().expect("an image that is still there");
    collector.finish();
    image
        .blobs()
        .all(|blob| registry.client().blob("target", &blob.digest).status == 200)
}

/// Shows that this is the registry's own rule, and not the sidecar's: it is the same without it.
#[test]
fn a_collection_beside_a_writable_registry_takes_what_is_mounted_meanwhile() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let rounds = amount(1, 10);
    for round in 0..rounds {
        let (with, without) = (format!("with{round}"), format!("without{round}"));
        let before = sidecar.mounted();
        assert!(!is_whole_after(&registry, &sidecar.client(), &with));
        assert!(sidecar.mounted() >= before + 2);
        assert!(!is_whole_after(&registry, &registry.client(), &without));
    }
    note(
        "Races",
        "against the registry's rules: a garbage collection while the registry takes writes, and an \
         image is pushed by mounts meanwhile",
        2 * rounds,
        "every answer 201, and the layers gone afterwards; the same with crossmount and without it",
    );
}
