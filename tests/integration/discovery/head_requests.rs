//! A HEAD of a layer that is not there, and one that makes itself true.

use crate::{needs, support};
use serde_json::json;
use std::time::Duration;
use support::discovery::discover_on_head;
use support::image::Image;
use support::misbehaving_upstream::{Reply, answer};
use support::raw_http::{Answer, Connection, Request};
use support::registry::Registry;
use support::registry_client::{Client, encoded};
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::Sidecar;
use support::token_issuer::TokenIssuer;
use support::{bytes_from, raw_http, wait_until};

#[test]
fn a_layer_that_another_repository_holds_is_there_when_it_is_asked_for() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let client = sidecar.client();
    let bytes = bytes_from("layer", 5000);
    let digest = client.upload("team/base", &bytes);
    registry.client().head_blob("team/app", &digest).expect(404);
    let answer = client.head_blob("team/app", &digest).expect(200);
    // The registry's own answer, which it gives from now on by itself.
    let direct = registry.client().head_blob("team/app", &digest).expect(200);
    for name in [
        "Content-Length",
        "Content-Type",
        "Docker-Content-Digest",
        "Etag",
    ] {
        assert_eq!(answer.header(name), direct.header(name), "{name}");
    }
    assert_eq!(client.pull("team/app", &digest), bytes);
    assert!(registry.store.has_link("team/app", &digest));
    assert_eq!(sidecar.mounted(), 1);
    let bytes = sidecar.metric("crossmount_mounted_bytes_total", &[("via", "head")]);
    assert!((bytes - 5000.0).abs() < 0.5, "{bytes}");
}

#[test]
fn a_fresh_client_pushes_an_image_and_sends_only_what_the_registry_lacks() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let client = sidecar.client();
    let base = Image::of(&["one", "two"], 3000);
    base.push(&client, "base", "v1");
    let app = Image::of(&["one", "two", "own"], 3000);
    let sent: Vec<_> = app
        .blobs()
        .filter(|blob| client.head_blob("app", &blob.digest).status == 404)
        .collect();
    assert_eq!(sent.len(), 2, "its own layer and its configuration");
    for blob in sent {
        client.upload("app", &blob.bytes);
    }
    client
        .put_manifest("app", "v1", &app.manifest.bytes)
        .expect(201);
    app.pull(&registry.client(), "app", "v1");
}

#[test]
fn only_a_head_leads_to_a_mount() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    client.blob("app", &digest).expect(404);
    for (method, target) in [
        ("DELETE", format!("/v2/app/blobs/{digest}")),
        ("PUT", format!("/v2/app/blobs/{digest}")),
        ("HEAD", format!("/v2/app/manifests/{digest}")),
        ("HEAD", format!("/v2/App/blobs/{digest}")),
        ("HEAD", format!("/v2/a%70p/blobs/{digest}")),
    ] {
        client.request(method, &target).send(client.port);
        assert!(
            !registry.store.has_link("app", &digest),
            "{method} {target}"
        );
    }
    assert_eq!(sidecar.mounted(), 0);
    client.head_blob("app", &digest).expect(200);
}

#[test]
fn an_answer_that_is_no_404_is_passed_on_as_it_is() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let digest = sidecar.client().upload("base", b"a layer");
    for (repository, digest) in [
        ("base", digest.clone()),
        ("base", support::digest_of(b"absent")),
        ("nowhere", support::digest_of(b"absent")),
    ] {
        let through = sidecar.client().head_blob(repository, &digest);
        let mut direct = registry.client().head_blob(repository, &digest);
        direct
            .headers
            .push(("Connection".to_owned(), "keep-alive".to_owned()));
        assert_eq!(through.status, direct.status);
        for headers in [&through.headers, &direct.headers] {
            assert!(!headers.is_empty());
        }
        let kept = |answer: &raw_http::Answer| {
            let mut headers = answer.headers.clone();
            headers.retain(|(name, _)| name != "Date");
            headers.sort();
            headers
        };
        assert_eq!(kept(&through), kept(&direct));
    }
}

/// A registry that says nothing to every third HEAD on a connection, in this way.
fn silent_now_and_then(way: fn() -> Reply) -> ScriptedRegistry {
    ScriptedRegistry::start(move |heard| match (&*heard.method, heard.nth) {
        ("HEAD", 2) => Some(way()),
        ("HEAD", _) => Some(Reply::Answer(answer("404 Not Found", ""))),
        _ => None,
    })
}

fn in_front_of(registry: &ScriptedRegistry) -> Sidecar {
    registry.sidecar(|config| {
        config["upstream"]["timeouts"] = json!({"read": "3s"});
        discover_on_head(config);
    })
}

fn heads(registry: &ScriptedRegistry) -> Vec<(usize, usize)> {
    let heard = registry.heard("HEAD");
    heard
        .iter()
        .map(|heard| (heard.connection, heard.nth))
        .collect()
}

/// On a connection that is kept: whatever the last one used is free again before the next.
fn head_of_absent(client: &mut Connection, port: u16) -> Answer {
    let path = format!("/v2/app/blobs/{}", support::digest_of(b"absent"));
    let request = Request::new("HEAD", &path).bytes(port);
    client.write(&request).unwrap();
    client.answer("HEAD").unwrap()
}

#[test]
fn heads_share_connections_and_survive_their_end() {
    let registry = silent_now_and_then(|| Reply::Close);
    let sidecar = in_front_of(&registry);
    let mut client = sidecar.client().connect();
    for _ in 0..3 {
        head_of_absent(&mut client, sidecar.port).expect(404);
    }
    let heads = heads(&registry);
    let (first, last) = (heads[0].0, heads[3].0);
    assert_eq!(heads, [(first, 0), (first, 1), (first, 2), (last, 0)]);
    assert_ne!(first, last);
}

#[test]
fn a_head_without_an_answer_in_time_is_not_sent_again() {
    let late = || Reply::Pieces(vec![answer("404 Not Found", "")], Duration::from_secs(10));
    let registry = silent_now_and_then(late);
    let sidecar = in_front_of(&registry);
    let mut client = sidecar.client().connect();
    for status in [404, 404, 504] {
        head_of_absent(&mut client, sidecar.port).expect(status);
    }
    assert_eq!(heads(&registry).len(), 3);
}

#[test]
fn a_log_line_names_each_link_and_the_request_that_led_to_it() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    client.head_blob("app", &digest).expect(200);
    let path = format!("/v2/other/blobs/uploads/?mount={}", encoded(&digest));
    client.request("POST", &path).send(client.port).expect(201);
    for (method, target) in [("HEAD", "app"), ("POST", "other")] {
        let parts = [
            format!(r#""method":"{method}""#),
            format!(r#""target":"{target}""#),
            format!(r#""digest":"{digest}""#),
            r#""outcome":"mounted""#.to_owned(),
        ];
        let is_it = |line: &str| parts.iter().all(|part| line.contains(part));
        wait_until("the line is there", || sidecar.log().lines().any(is_it));
    }
    // A HEAD that is no mount names none.
    client.head_blob("base", &digest).expect(200);
    let named = r#""target":"base""#;
    assert!(!sidecar.log().lines().any(|line| line.contains(named)));
}

#[test]
fn before_the_store_is_verified_and_without_credentials_nothing_is_linked() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let registry = tokens.registry();
    let all: &[&str] = &["pull", "push"];
    let owner = tokens.token("owner", &[("base", all), ("proof/of-store", all)]);
    let sidecar = Sidecar::with(&registry, |config| {
        tokens.verify_here(config);
        config["discovery"] = json!({
            "enabled": true, "on_head": true, "shared_sources": ["base"],
        });
    });
    let digest = registry.client().bearer(&owner).upload("base", b"a layer");
    let seen = sidecar.client().bearer(&owner);
    seen.head_blob("base", &digest).expect(200);
    let pusher = tokens.token("pusher", &[("app", all)]);
    let pusher = sidecar.client().bearer(&pusher);
    pusher.head_blob("app", &digest).expect(404);
    sidecar.verify_store_as(&Client::new(sidecar.port).bearer(&owner));
    sidecar.client().head_blob("app", &digest).expect(401);
    assert!(!registry.store.has_link("app", &digest));
    pusher.head_blob("app", &digest).expect(200);
}
