//! The blob without bytes, which clients push now and then.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use support::discovery::discover_on_head;
use support::registry::Registry;
use support::registry_client::encoded;
use support::sidecar::Sidecar;
use support::{digest_of, wait_until};

fn verifying(config: &mut Value) {
    discover_on_head(config);
    config["store"]["verify"] = json!("sha256");
}

#[test]
fn the_blob_of_no_bytes_is_mounted_as_by_the_registry_alone() {
    needs!("docker-registry");
    let registry = Registry::start();
    let nothing = registry.client().upload("source", b"");
    assert_eq!(nothing, digest_of(b""));
    assert_eq!(
        fs::metadata(registry.store.data(&nothing)).unwrap().len(),
        0
    );
    let alone = registry
        .client()
        .mount("alone", &nothing, "source")
        .expect(201);
    let sidecar = Sidecar::with(&registry, discover_on_head);
    sidecar.verify_store();
    let client = sidecar.client();
    for repetition in ["written", "there already"] {
        let mounted = client.mount("named", &nothing, "source").expect(201);
        for name in ["Docker-Content-Digest", "Content-Length"] {
            assert_eq!(mounted.header(name), alone.header(name), "{repetition}");
        }
    }
    let path = format!("/v2/found/blobs/uploads/?mount={}", encoded(&nothing));
    client.request("POST", &path).send(client.port).expect(201);
    client.head_blob("asked", &nothing).expect(200);
    for target in ["named", "found", "asked"] {
        assert_eq!(registry.client().pull(target, &nothing), b"", "{target}");
    }
    assert_eq!(sidecar.mounted(), 3);
    // Without its file it is a blob like any other.
    fs::remove_file(registry.store.data(&nothing)).unwrap();
    client.mount("late", &nothing, "source").expect(202);
    assert_eq!(sidecar.mounts_with_reason("blob_missing"), 1);
}

#[test]
fn every_other_empty_file_is_a_missing_blob() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, discover_on_head);
    sidecar.verify_store();
    let client = sidecar.client();
    let digest = client.upload("source", b"a layer");
    fs::write(registry.store.data(&digest), "").unwrap();
    client.mount("target", &digest, "source").expect(202);
    assert_eq!(sidecar.mounts_with_reason("blob_missing"), 1);
    client.head_blob("target", &digest).expect(404);
    assert!(!registry.store.has_link("target", &digest));
}

#[test]
fn the_blob_of_no_bytes_is_hashed_like_any_other() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, verifying);
    sidecar.verify_store();
    let client = sidecar.client();
    let nothing = client.upload("source", b"");
    client.mount("first", &nothing, "source").expect(201);
    assert_eq!(sidecar.mounts("native", "blob_unverified"), 1);
    wait_until("it is hashed", || {
        sidecar.metric("crossmount_verified_blobs_total", &[("result", "good")]) > 0.5
    });
    client.mount("second", &nothing, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    fs::write(registry.store.data(&nothing), "no longer empty").unwrap();
    client.mount("third", &nothing, "source").expect(202);
    assert_eq!(sidecar.mounts_with_reason("blob_unverified"), 2);
}
