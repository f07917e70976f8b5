//! Mounts that the sidecar answers itself, and what they leave in the store.

use crate::{needs, support};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use support::image::Image;
use support::raw_http::Request;
use support::registry::Registry;
use support::sidecar::{Sidecar, generous_time_budget};
use support::store::trace_of;
use support::{bytes_from, digest_of};

#[test]
fn an_image_whose_blobs_were_mounted_pulls_back_whole() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let image = Image::of(&["one", "two", "three"], 200_000);
    image.push(&client, "org1/image", "v1");

    for blob in image.blobs() {
        client
            .mount("org2/image", &blob.digest, "org1/image")
            .expect(201);
    }
    client
        .put_manifest("org2/image", "v1", &image.manifest.bytes)
        .expect(201);

    image.pull(&client, "org2/image", "v1");
    image.pull(&registry.client(), "org2/image", "v1");
    assert_eq!(sidecar.mounts("mounted", "none"), 4);
    let sizes: usize = image.blobs().map(|blob| blob.bytes.len()).sum();
    let counted = sidecar.metric("crossmount_mounted_bytes_total", &[("via", "from")]);
    assert_eq!(support::sidecar_metrics::whole(counted), sizes as u64);
}

#[test]
fn the_answer_is_the_registrys_own() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let digest = registry.client().upload("a", b"the same answer");
    let path = support::registry_client::mount_target("b", &digest, "a");
    let ask = |port| {
        let mut answer = Request::new("POST", &path)
            .header("Host", "registry.test:5000")
            .send(port)
            .expect(201);
        // Connection belongs to one hop, not to the answer.
        answer
            .headers
            .retain(|(name, _)| name != "Date" && name != "Connection");
        answer.headers
    };
    let ours = ask(sidecar.port);
    assert_eq!(sidecar.mounted(), 1);
    assert_eq!(ours, ask(registry.port));
}

#[test]
fn every_name_that_the_registry_takes_can_be_source_and_target() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let names = [
        "a",
        "a/b/c",
        "manifests",
        "blobs",
        "blobs/uploads",
        "tags/list",
        "a/manifests/b",
        "a/blobs/uploads/b",
        "v2",
        "0/1",
        "a__b/c.d/e-f/g---h",
        "one.two_three",
    ];
    let digest = client.upload("the/source", b"a blob for many names");
    for (count, name) in names.into_iter().enumerate() {
        let from = if count == 0 {
            "the/source"
        } else {
            names[count - 1]
        };
        let answer = client.mount(name, &digest, from).expect(201);
        assert_eq!(
            answer.location_path(),
            format!("/v2/{name}/blobs/{digest}"),
            "mount into {name}"
        );
        assert_eq!(answer.header("Docker-Content-Digest"), Some(&*digest));
        assert_eq!(sidecar.mounted(), count as u64 + 1, "mount into {name}");
        client.pull(name, &digest);
        registry.client().pull(name, &digest);
    }
}

#[test]
fn the_link_is_like_one_that_the_registry_writes() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let digest = registry.client().upload("by/registry", b"some layer");
    sidecar
        .client()
        .mount("by/sidecar/deep/down", &digest, "by/registry")
        .expect(201);
    assert_eq!(sidecar.mounted(), 1);

    let theirs = registry.store.link("by/registry", &digest);
    let ours = registry.store.link("by/sidecar/deep/down", &digest);
    let content = fs::read(&ours).unwrap();
    assert_eq!(content.len(), 71);
    assert_eq!(content, digest.as_bytes());
    assert_eq!(content, fs::read(&theirs).unwrap());
    // The link itself, and each folder up to the repository's name.
    for (ours, theirs) in ours.ancestors().zip(theirs.ancestors()).take(5) {
        let (about, wanted) = (fs::metadata(ours).unwrap(), fs::metadata(theirs).unwrap());
        let ours = ours.display();
        assert_eq!(
            about.permissions().mode(),
            wanted.permissions().mode(),
            "mode of {ours}"
        );
        assert_eq!(about.uid(), wanted.uid(), "owner of {ours}");
        assert_eq!(about.gid(), wanted.gid(), "group of {ours}");
    }
}

#[test]
fn the_blob_is_stored_once() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let bytes = bytes_from("stored once", 50_000);
    let digest = client.upload("a", &bytes);
    let before = trace_of(&registry.store.data(&digest));
    for target in ["b", "c", "d"] {
        client.mount(target, &digest, "a").expect(201);
    }
    assert_eq!(sidecar.mounted(), 3);

    let data = registry.store.data(&digest);
    assert_eq!(trace_of(&data), before);
    assert_eq!(fs::metadata(&data).unwrap().nlink(), 1);
    for target in ["a", "b", "c", "d"] {
        let link = registry.store.link(target, &digest);
        assert_eq!(fs::metadata(&link).unwrap().nlink(), 1);
    }
    let copies = registry.store.files();
    let copies = copies
        .iter()
        .filter(|file| trace_of(&registry.store.root.join(file)).size == bytes.len() as u64);
    assert_eq!(copies.count(), 1);
}

#[test]
fn a_mount_that_is_there_already_is_confirmed_and_not_rewritten() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let digest = client.upload("a", b"mounted twice");
    client.mount("b", &digest, "a").expect(201);
    assert_eq!(sidecar.mounts("mounted", "none"), 1);

    for (target, times) in [("b", 1), ("a", 2), ("b", 3)] {
        let before = trace_of(&registry.store.link(target, &digest));
        client.mount(target, &digest, "a").expect(201);
        assert_eq!(trace_of(&registry.store.link(target, &digest)), before);
        assert_eq!(sidecar.mounts("already_linked", "none"), times);
    }
    assert_eq!(sidecar.mounted(), 1);
    assert_eq!(registry.store.stray_files(), [""; 0]);
}

#[test]
fn a_mount_that_is_there_already_is_not_confirmed_when_the_data_is_gone() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let bytes = b"here today";
    let digest = client.upload("a", bytes);
    client.mount("b", &digest, "a").expect(201);
    fs::remove_file(registry.store.data(&digest)).unwrap();

    for target in ["b", "a"] {
        let answer = client.mount(target, &digest, "a").expect(202);
        assert!(answer.header("Docker-Upload-Uuid").is_some());
    }
    assert_eq!(sidecar.mounts("forwarded", "blob_missing"), 2);
    let opened = client.begin("b").expect(202);
    client.finish(&opened, bytes).expect(201);
    client.mount("b", &digest, "a").expect(201);
    assert_eq!(sidecar.mounts("already_linked", "none"), 1);
}

#[test]
fn a_broken_target_link_is_made_whole() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let digest = client.upload("a", b"made whole");
    registry.store.plant_link("b", &digest, "");
    client.mount("b", &digest, "a").expect(201);
    let link = fs::read_to_string(registry.store.link("b", &digest)).unwrap();
    assert_eq!(link, digest);
    registry.client().pull("b", &digest);
}

#[test]
fn parallel_mounts_of_one_digest_into_one_new_repository_all_succeed() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, generous_time_budget);
    sidecar.verify_store();
    let client = sidecar.client();
    let digest = client.upload("a", b"wanted by many");
    let barrier = std::sync::Barrier::new(64);
    std::thread::scope(|scope| {
        let mounts: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    client.mount("new/repository", &digest, "a").status
                })
            })
            .collect();
        for mount in mounts {
            assert_eq!(mount.join().unwrap(), 201);
        }
    });
    let ours = sidecar.mounted() + sidecar.mounts("already_linked", "none");
    assert_eq!(ours, 64, "{:?}", sidecar.all_mounts());
    assert_eq!(registry.store.stray_files(), [""; 0]);
    let link = fs::read_to_string(registry.store.link("new/repository", &digest)).unwrap();
    assert_eq!(link, digest);
    registry.client().pull("new/repository", &digest);
}

#[test]
fn parallel_mounts_of_many_digests_into_many_repositories_all_succeed() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, generous_time_budget);
    sidecar.verify_store();
    let client = sidecar.client();
    let digests: Vec<_> = (0..8)
        .map(|at| client.upload("a", format!("blob {at}").as_bytes()))
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (client, digests) = (&client, &digests);
            scope.spawn(move || {
                for (at, digest) in digests.iter().enumerate() {
                    let target = format!("team{}/app{thread}", at % 2);
                    client.mount(&target, digest, "a").expect(201);
                }
            });
        }
    });
    assert_eq!(sidecar.mounted(), 64, "{:?}", sidecar.all_mounts());
    assert_eq!(registry.store.stray_files(), [""; 0]);
    for (at, digest) in digests.iter().enumerate() {
        let target = format!("team{}/app7", at % 2);
        assert_eq!(digest_of(&registry.client().pull(&target, digest)), *digest);
    }
}

#[test]
fn every_durability_mounts() {
    needs!("docker-registry");
    for durability in ["full", "file", "none"] {
        let registry = Registry::start();
        let sidecar = Sidecar::with(&registry, |config| {
            config["store"]["durability"] = durability.into();
        });
        sidecar.verify_store();
        let client = sidecar.client();
        let digest = client.upload("a", durability.as_bytes());
        client.mount("b/c", &digest, "a").expect(201);
        assert_eq!(sidecar.mounted(), 1, "{durability}");
        let link = fs::read_to_string(registry.store.link("b/c", &digest)).unwrap();
        assert_eq!(link, digest);
        assert_eq!(registry.store.stray_files(), [""; 0]);
        registry.client().pull("b/c", &digest);
    }
}

#[test]
fn until_the_store_is_verified_mounts_are_forwarded() {
    needs!("docker-registry");
    let registry = Registry::start();
    let digest = registry.client().upload("a", b"before the proof");
    let sidecar = Sidecar::start(&registry);
    let client = sidecar.client();

    client.mount("nowhere", &digest, "not/there").expect(202);
    client.mount("b", &digest, "a").expect(201);
    assert_eq!(sidecar.mounted(), 0);
    let native = sidecar.mounts("native", "none");
    assert!(native >= 1, "{:?}", sidecar.all_mounts());
    // The registry's own link for that mount was seen in the store, and so is the proof.
    client.mount("c", &digest, "a").expect(201);
    assert_eq!(sidecar.mounts("mounted", "none"), 1);
    assert_eq!(sidecar.mounts("native", "none"), native);
    registry.client().pull("c", &digest);
}
