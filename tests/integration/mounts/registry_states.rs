//! Registries that go away, come back, or turn read-only.

use crate::{needs, support};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::image::Image;
use support::misbehaving_upstream::{Reply, answer};
use support::raw_http::{self, Request};
use support::registry::Registry;
use support::registry_client::Client;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::Sidecar;
use support::sidecar_metrics::most_questions;
use support::store::listing;
use support::wait_until;

const BLOB: &[u8] = b"a blob in a registry that comes and goes";

#[track_caller]
fn unavailable(answer: &raw_http::Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("Retry-After"), Some("1"));
    let body: Value = serde_json::from_slice(&answer.body).expect("an OCI error body");
    assert_eq!(body["errors"][0]["code"], "UNAVAILABLE");
    assert!(body["errors"][0]["message"].is_string());
}

fn answers(port: u16) {
    wait_until("the registry answers through the sidecar", || {
        Request::new("GET", "/v2/")
            .try_send(port)
            .is_ok_and(|answer| answer.status == 200)
    });
}

/// A registry and its sidecar, through which [`BLOB`] was uploaded to `a` and mounted in `b`.
fn after_a_mount() -> (Registry, Sidecar, Client, String) {
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let digest = client.upload("a", BLOB);
    client.mount("b", &digest, "a").expect(201);
    (registry, sidecar, client, digest)
}

#[test]
fn after_a_killed_registry_came_back_the_store_is_verified_again_before_the_next_link() {
    needs!("docker-registry");
    let (mut registry, sidecar, client, digest) = after_a_mount();
    assert_eq!(sidecar.mounts("mounted", "none"), 1);

    registry.kill();
    unavailable(&client.get("/v2/"));
    let links = registry.store.files();
    unavailable(&client.mount("c", &digest, "a"));
    unavailable(&client.mount("b", &digest, "a"));
    unavailable(&client.begin("c"));
    unavailable(&client.blob("a", &digest));
    assert_eq!(client.head_blob("a", &digest).status, 503);
    assert_eq!(registry.store.files(), links);
    assert_eq!(sidecar.mounted(), 1);

    registry.resume();
    answers(sidecar.port);
    let native = sidecar.mounts("native", "none");
    client.mount("d", &digest, "a").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    assert_eq!(sidecar.mounts("native", "none"), native + 1);
    client.mount("e", &digest, "a").expect(201);
    assert_eq!(sidecar.mounted(), 2);
    for repository in ["b", "d", "e"] {
        assert_eq!(registry.client().pull(repository, &digest), BLOB);
    }
}

#[test]
fn an_upload_proves_the_store_again() {
    needs!("docker-registry");
    let mut registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let digest = client.upload("a", BLOB);
    registry.kill();
    unavailable(&client.get("/v2/"));
    registry.resume();
    answers(sidecar.port);
    client.upload("a", b"fresh proof");
    client.mount("b", &digest, "a").expect(201);
    assert_eq!(sidecar.mounts("mounted", "none"), 1);
    assert_eq!(sidecar.mounts("native", "none"), 0);
}

#[test]
fn a_read_only_registry_refuses_mounts_and_nothing_is_written() {
    needs!("docker-registry", "htpasswd");
    let mut registry = Registry::with_htpasswd(&[("alice", "right")]);
    let alice = registry.client().basic("alice", "right");
    let digest = alice.upload("a", BLOB);
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "upstream"});
    });
    sidecar.verify_store_as(&alice);
    let alice = alice.at(sidecar.port);
    alice.mount("b", &digest, "a").expect(201);
    assert_eq!(sidecar.mounted(), 1);

    registry.read_only(true);
    registry.restart();
    let before = listing(&registry.store.root);
    // The first one after a restart may still meet a connection of the dead process.
    wait_until("the registry is reached again", || {
        alice.request("GET", "/v2/").send(sidecar.port).status == 200
    });
    for target in ["c", "b", "a", "c"] {
        let answer = alice.mount(target, &digest, "a").expect(405);
        assert_eq!(answer.header("Allow"), Some("GET, HEAD"));
    }
    assert_eq!(listing(&registry.store.root), before);
    assert_eq!(sidecar.mounted(), 1);
    assert_eq!(alice.pull("b", &digest), BLOB);

    registry.read_only(false);
    registry.restart();
    wait_until("the registry is reached again", || {
        alice.request("GET", "/v2/").send(sidecar.port).status == 200
    });
    sidecar.verify_store_as(&alice);
    alice.mount("c", &digest, "a").expect(201);
    assert_eq!(sidecar.mounted(), 2);
}

#[test]
fn a_write_that_is_refused_in_passing_ends_linking_at_once() {
    needs!("docker-registry");
    let (mut registry, sidecar, client, digest) = after_a_mount();
    registry.read_only(true);
    registry.restart();
    wait_until("a write is refused", || {
        let answer = client
            .request("POST", "/v2/x/blobs/uploads/")
            .send(client.port);
        answer.status == 405
    });
    let before = listing(&registry.store.root);
    for target in ["c", "b"] {
        client.mount(target, &digest, "a").expect(405);
    }
    assert_eq!(listing(&registry.store.root), before);
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn a_delete_where_deleting_is_off_does_not_make_the_registry_read_only() {
    needs!("docker-registry");
    let registry = Registry::with(|config| {
        config["storage"]["delete"]["enabled"] = false.into();
    });
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let image = Image::of(&["one"], 1000);
    image.push(&client, "a", "v1");
    let layer = &image.layers[0].digest;
    let start = Instant::now();
    client.mount("before", layer, "a").expect(201);
    let asked = sidecar.subrequests();
    for turn in 0..3 {
        for target in [
            format!("/v2/a/blobs/{layer}"),
            format!("/v2/a/manifests/{}", image.manifest.digest),
        ] {
            let refused = client.request("DELETE", &target).send(client.port);
            assert_eq!(refused.expect(405).header("Allow"), None, "{target}");
        }
        let target = format!("after{turn}");
        client.mount(&target, layer, "a").expect(201);
        // The machine may be slow.
        assert!(
            sidecar.subrequests() < asked + most_questions(start),
            "turn {turn}"
        );
    }
    assert_eq!(sidecar.mounts("mounted", "none"), 4);
    assert_eq!(sidecar.mounts("native", "none"), 0);
}

/// Answers as a registry does while it is read-only, but only to requests that ask for it.
fn read_only_on_request() -> ScriptedRegistry {
    ScriptedRegistry::start(|heard| {
        heard.header("X-Read-Only")?;
        let body = r#"{"errors":[{"code":"UNSUPPORTED"}]}"#;
        let answer = String::from_utf8(answer("405 Method Not Allowed", body)).unwrap();
        let (status, rest) = answer.split_once("\r\n").unwrap();
        let answer = format!("{status}\r\nAllow: GET, HEAD\r\n{rest}");
        Some(Reply::Answer(answer.into_bytes()))
    })
}

#[test]
fn a_refused_upload_start_ends_write_availability_and_the_stores_verification() {
    let registry = read_only_on_request();
    let sidecar = registry.sidecar(|_| ());
    let digest = registry.plant("a", BLOB);
    let client = sidecar.client();
    client.mount("b", &digest, "a").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    let refused = client.clone().header("X-Read-Only", "1").begin("a");
    refused.expect(405);
    for target in ["c", "b"] {
        client.mount(target, &digest, "a").expect(202);
    }
    assert_eq!(sidecar.mounted(), 1);
    assert_eq!(sidecar.mounts("already_linked", "none"), 0);
    assert!(!registry.store.repository("c").exists());
    assert_eq!(registry.heard("PATCH").len(), 1);

    registry.verify_store(&client);
    client.mount("c", &digest, "a").expect(201);
    assert_eq!(sidecar.mounted(), 2);
    assert_eq!(registry.heard("PATCH").len(), 2);
}

#[test]
fn any_other_refused_write_ends_write_availability() {
    let registry = read_only_on_request();
    let sidecar = registry.sidecar(|_| ());
    let digest = registry.plant("a", BLOB);
    let client = sidecar.client();
    client.mount("b", &digest, "a").expect(201);
    let asked = || {
        let mut asked = registry.heard("PATCH");
        asked.retain(support::misbehaving_upstream::ReceivedRequest::is_the_sidecars);
        asked.len()
    };
    for (at, (method, target)) in [
        ("PATCH", "/v2/a/blobs/uploads/some-session"),
        ("PUT", "/v2/a/blobs/uploads/some-session?digest=x"),
        ("PUT", "/v2/a/manifests/latest"),
        ("DELETE", "/v2/a/manifests/latest"),
    ]
    .iter()
    .enumerate()
    {
        let before = asked();
        let client = client.clone().header("X-Read-Only", "1");
        client.request(method, target).send(client.port).expect(405);
        let client = sidecar.client();
        client.mount(&format!("c{at}"), &digest, "a").expect(201);
        assert_eq!(asked(), before + 1, "{method} {target}");
    }
    assert_eq!(sidecar.mounted(), 5);
}

#[test]
fn a_registry_turned_read_only_in_silence_is_noticed_within_seconds() {
    needs!("docker-registry");
    let (mut registry, _sidecar, client, digest) = after_a_mount();
    registry.read_only(true);
    registry.restart();
    // A probe counts for five seconds; the documentation asks to wait for ten.
    let restarted = Instant::now();
    while restarted.elapsed() < Duration::from_secs(6) {
        let status = client.mount("b", &digest, "a").status;
        assert!([201, 405].contains(&status), "{status}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let before = listing(&registry.store.root);
    for target in ["c", "b", "d"] {
        client.mount(target, &digest, "a").expect(405);
    }
    assert_eq!(listing(&registry.store.root), before);
}

#[test]
fn it_starts_on_an_empty_volume_before_its_registry() {
    needs!("docker-registry");
    let mut registry = Registry::prepared(|_| ());
    let sidecar = Sidecar::start(&registry);
    unavailable(&sidecar.client().get("/v2/"));
    assert_eq!(
        raw_http::get(sidecar.admin, "/healthz")
            .expect(200)
            .text()
            .trim(),
        "ok"
    );
    let ready = raw_http::get(sidecar.admin, "/readyz").expect(503);
    assert!(!ready.body.is_empty());
    assert_eq!(listing(&registry.store.root), BTreeMap::new());

    registry.resume();
    answers(sidecar.port);
    wait_until("it is ready", || {
        raw_http::get(sidecar.admin, "/readyz").status == 200
    });
    let client = sidecar.client();
    let image = Image::of(&["one", "two"], 10_000);
    image.push(&client, "first/image", "v1");
    for blob in image.blobs() {
        client
            .mount("second/image", &blob.digest, "first/image")
            .expect(201);
    }
    assert_eq!(sidecar.mounts("mounted", "none"), 3);
    client
        .put_manifest("second/image", "v1", &image.manifest.bytes)
        .expect(201);
    image.pull(&registry.client(), "second/image", "v1");
}
