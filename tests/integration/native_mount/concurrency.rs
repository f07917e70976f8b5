//! Many at once.

use crate::support;
use std::thread;
use support::image::Image;
use support::pulp::{self, ADMIN, fresh};

#[test]
fn forty_mounts_at_once_are_all_answered() {
    let Some(pulp) = pulp::start() else { return };
    let sidecar = pulp.sidecar(|_| ());
    let source = format!("{}/src", fresh("team"));
    let image = Image::of(&[&fresh("a"), &fresh("b"), &fresh("c"), &fresh("d")], 1500);
    image.push(&pulp.pushing(pulp.port, ADMIN, &source), &source, "v1");
    let target = format!("{}/app", fresh("team"));
    let client = pulp.mounting(sidecar.port, ADMIN, &target, &source);
    // Pulp makes the repository for the first one.
    client
        .mount(&target, &image.layers[0].digest, &source)
        .expect(201);
    thread::scope(|scope| {
        for number in 0..40 {
            let (client, target, source) = (&client, &target, &source);
            let digest = &image.layers[number % 4].digest;
            scope.spawn(move || client.mount(target, digest, source).expect(201));
        }
    });
    assert_eq!(sidecar.mounts("native", "none"), 41);
    for layer in &image.layers {
        client.head_blob(&target, &layer.digest).expect(302);
    }
}

#[test]
fn two_clients_first_push_into_one_repository_as_they_would_without_us() {
    let Some(pulp) = pulp::start() else { return };
    let sidecar = pulp.sidecar(|_| ());
    let target = format!("{}/app", fresh("team"));
    let source = format!("{}/nowhere", fresh("team"));
    let images = [
        Image::of(&[&fresh("a")], 1500),
        Image::of(&[&fresh("b")], 1500),
    ];
    thread::scope(|scope| {
        for (number, image) in images.iter().enumerate() {
            let (target, source) = (&target, &source);
            let client = pulp.mounting(sidecar.port, ADMIN, target, source);
            scope.spawn(move || {
                for blob in image.blobs() {
                    // Pulp may refuse the one of two that comes too late to make the repository;
                    // what it says then is passed on, and clients begin again.
                    let opened = (0..20)
                        .map(|_| client.mount(target, &blob.digest, source))
                        .find(|answer| {
                            assert!([202, 429, 500].contains(&answer.status), "{answer:?}");
                            answer.status == 202
                        })
                        .expect("an upload at last");
                    client.finish(&opened, &blob.bytes).expect(201);
                }
                // The same where both change the repository at once.
                let (tag, manifest) = (format!("v{number}"), &image.manifest.bytes);
                (0..20)
                    .map(|_| client.put_manifest(target, &tag, manifest))
                    .find(|answer| {
                        assert!([201, 429].contains(&answer.status), "{answer:?}");
                        answer.status == 201
                    })
                    .expect("a manifest at last");
            });
        }
    });
    let client = pulp.pushing(sidecar.port, ADMIN, &target);
    for image in &images {
        for blob in image.blobs() {
            assert_eq!(pulp.pull(&client, &target, &blob.digest), blob.bytes);
        }
    }
}
