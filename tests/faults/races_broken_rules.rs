//! A garbage collection beside a registry that takes writes, which its documentation forbids:
//! what is lost then, with the sidecar and without it.

use crate::races_collector::{Collector, plant_garbage};
use crate::{needs, support};
use support::figures::{amount, note};
use support::image::Image;
use support::push::Client;
use support::registry::Registry;
use support::sidecar::Sidecar;

/// Candidates of which the collector cannot have deleted all when it is held.
const IMAGES: usize = 40;

/// Pushes an image by mounts whose layers the collector is about to delete; every answer says
/// that all is well. Returns whether the image can be read afterwards.
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
    let is_there = |image: &&Image| {
        image
            .blobs()
            .all(|blob| registry.store.data(&blob.digest).is_file())
    };
    // It goes on until the pipe is full.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let image = images
        .iter()
        .find(is_there)
        .expect("an image that is still there");
    for blob in image.blobs() {
        client.mount("target", &blob.digest, "source").expect(201);
        assert_eq!(client.pull("target", &blob.digest), blob.bytes);
    }
    client
        .put_manifest("target", seed, &image.manifest.bytes)
        .expect(201);
    image.pull(client, "target", seed);
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
    let sidecar = Sidecar::proved(&registry);
    let rounds = amount(1, 10);
    for round in 0..rounds {
        let (with, without) = (format!("with{round}"), format!("without{round}"));
        let before = sidecar.mounted();
        assert!(!is_whole_after(&registry, &sidecar.client(), &with));
        assert_eq!(sidecar.mounted(), before + 2);
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
