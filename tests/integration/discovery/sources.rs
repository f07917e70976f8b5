//! From where, by the operator's word; and mounts that name no source, or a useless one.

use crate::{needs, support};
use serde_json::json;
use support::raw_http::Answer;
use support::registry::Registry;
use support::registry_client::{Client, encoded};
use support::sidecar::Sidecar;

fn sourceless(client: &Client, target: &str, digest: &str) -> Answer {
    let path = format!("/v2/{target}/blobs/uploads/?mount={}", encoded(digest));
    client.request("POST", &path).send(client.port)
}

fn with(registry: &Registry, discovery: serde_json::Value) -> (Sidecar, Client) {
    let path = registry.config["auth"]["htpasswd"]["path"].clone();
    let sidecar = Sidecar::with(registry, |config| {
        config["access"] = json!({"mode": "htpasswd", "htpasswd": {"path": path}});
        config["discovery"] = discovery;
    });
    let client = sidecar.client().basic("alice", "right");
    sidecar.verify_store_as(&client);
    (sidecar, client)
}

fn registry() -> Registry {
    Registry::with_htpasswd(&[("alice", "right")])
}

#[test]
fn a_mount_without_from_is_done_with_the_registrys_own_201() {
    needs!("docker-registry", "htpasswd");
    let registry = registry();
    let (sidecar, client) = with(
        &registry,
        json!({"enabled": true, "shared_sources": ["base/*"]}),
    );
    let digest = client.upload("base/os", b"a layer");
    let answer = sourceless(&client, "app", &digest).expect(201);
    let location = format!("http://127.0.0.1:{}/v2/app/blobs/{digest}", sidecar.port);
    assert_eq!(answer.header("Location"), Some(&*location));
    assert_eq!(answer.header("Docker-Content-Digest"), Some(&*digest));
    assert_eq!(client.pull("app", &digest), b"a layer");
    let bytes = sidecar.metric("crossmount_mounted_bytes_total", &[("via", "discovery")]);
    assert!((bytes - 7.0).abs() < 0.5, "{bytes}");
    // on_head is another setting.
    client.head_blob("app2", &digest).expect(404);
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn without_discovery_or_a_holder_it_is_the_registrys_upload() {
    needs!("docker-registry", "htpasswd");
    let registry = registry();
    let (off, client) = with(&registry, json!({"enabled": false}));
    let digest = client.upload("base/os", b"a layer");
    sourceless(&client, "app", &digest).expect(202);
    assert_eq!(off.mounts_with_reason("source_missing"), 1);
    let (on, client) = with(&registry, json!({"enabled": true, "sources": "any"}));
    let absent = support::digest_of(b"absent");
    let opened = sourceless(&client, "app", &absent).expect(202);
    client.finish(&opened, b"absent").expect(201);
    assert_eq!(on.mounts_with_reason("source_missing"), 1);
    assert_eq!(on.mounted(), 0);
}

#[test]
fn a_from_that_is_missing_or_useless_is_replaced_by_one_that_holds_the_layer() {
    needs!("docker-registry", "htpasswd");
    let registry = registry();
    let (sidecar, client) = with(&registry, json!({"enabled": true, "sources": "any"}));
    let digest = client.upload("base/os", b"a layer");
    client.upload("other", b"something else");
    for (number, source) in ["nowhere", "other"].iter().enumerate() {
        client
            .mount(&format!("app{number}"), &digest, source)
            .expect(201);
    }
    // Linked, and its bytes gone: the layer is nowhere else either.
    let gone = client.upload("base/os", b"soon gone");
    std::fs::remove_file(registry.store.data(&gone)).unwrap();
    client.mount("app3", &gone, "base/os").expect(202);
    assert_eq!(sidecar.mounted(), 2);
}

#[test]
fn the_operator_chooses_the_sources() {
    needs!("docker-registry", "htpasswd");
    let registry = registry();
    let direct = registry.client().basic("alice", "right");
    let places = ["base/os", "team/lib", "far/away", "team"];
    let digests: Vec<_> = places
        .iter()
        .map(|place| direct.upload(place, place.as_bytes()))
        .collect();
    let shared = json!(["base/*"]);
    for (sources, expected) in [
        ("shared", [201, 202, 202, 202]),
        ("namespace", [201, 201, 202, 202]),
        ("any", [201, 201, 201, 201]),
    ] {
        let settings = json!({"enabled": true, "sources": sources, "shared_sources": shared});
        let (_sidecar, client) = with(&registry, settings);
        for ((place, digest), expected) in places.iter().zip(&digests).zip(expected) {
            client.head_blob(place, digest).expect(200);
            let target = format!("team/app-{sources}");
            let answer = sourceless(&client, &target, digest);
            assert_eq!(answer.status, expected, "{sources} {place}");
        }
    }
}
