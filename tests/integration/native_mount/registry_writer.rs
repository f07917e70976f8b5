//! In front of distribution whose store crossmount does not write to (`mount.writer: registry`).

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use support::raw_http::Answer;
use support::registry::Registry;
use support::registry_client::{Client, encoded};
use support::registry_log::log_requests;
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;
use support::token_issuer::TokenIssuer;
use support::{bytes_from, wait_until};

const PULL: &[&str] = &["pull"];
const PUSH: &[&str] = &["pull", "push"];

/// A sidecar that knows no store, by the registry's access control.
fn writer(registry: &Registry, mode: &str) -> Sidecar {
    Sidecar::from(&writer_config(registry, mode))
}

fn writer_config(registry: &Registry, mode: &str) -> Value {
    json!({
        "listen": {"address": "127.0.0.1:0"},
        "admin": {"address": "127.0.0.1:0"},
        "upstream": {"url": registry.url()},
        "mount": {"writer": "registry", "time_budget": "30s"},
        "access": {"mode": mode},
        "discovery": {"enabled": true, "on_head": true, "sources": "any"},
    })
}

/// A registry without access control, its sidecar, and a client of that.
fn open_registry() -> (Registry, Sidecar, Client) {
    let registry = Registry::start();
    let sidecar = writer(&registry, "none");
    let client = sidecar.client();
    (registry, sidecar, client)
}

fn saved(sidecar: &Sidecar, via: &str) -> u64 {
    whole(sidecar.metric("crossmount_mounted_bytes_total", &[("via", via)]))
}

fn sourceless(client: &Client, target: &str, digest: &str) -> Answer {
    let path = format!("/v2/{target}/blobs/uploads/?mount={}", encoded(digest));
    client.request("POST", &path).send(client.port)
}

#[test]
fn behind_an_open_registry_every_client_finds_every_layer() {
    needs!("docker-registry");
    let (registry, sidecar, client) = open_registry();
    let bytes = bytes_from("open", 5000);
    let digest = client.upload("base", &bytes);
    let answer = client.head_blob("app", &digest).expect(200);
    assert_eq!(answer.header("Content-Length"), Some("5000"));
    assert_eq!(registry.client().pull("app", &digest), bytes);
    assert_eq!(saved(&sidecar, "head"), 5000);
    sourceless(&client, "other", &digest).expect(201);
    assert_eq!(saved(&sidecar, "discovery"), 5000);
    assert_eq!(sidecar.mounts("native", "none"), 2);
    // The layer is there already: no byte is saved twice.
    sourceless(&client, "other", &digest).expect(201);
    assert_eq!(saved(&sidecar, "discovery"), 5000);
}

#[test]
fn behind_a_password_file_every_user_finds_every_layer_and_no_other_client_does() {
    needs!("docker-registry");
    let registry = Registry::with_htpasswd(&[("alice", "right"), ("bob", "also right")]);
    let sidecar = writer(&registry, "htpasswd");
    let digest = sidecar
        .client()
        .basic("alice", "right")
        .upload("base", b"a layer");
    for client in [
        sidecar.client(),
        sidecar.client().basic("bob", "wrong"),
        sidecar.client().basic("", ""),
    ] {
        client.head_blob("app", &digest).expect(401);
        sourceless(&client, "app", &digest).expect(401);
    }
    assert!(!registry.store.has_link("app", &digest));
    // This login was never seen before.
    let bob = sidecar.client().basic("bob", "also right");
    bob.head_blob("app", &digest).expect(200);
    assert_eq!(saved(&sidecar, "head"), 7);
}

#[test]
fn a_token_finds_layers_in_the_repositories_that_it_may_pull() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let registry = tokens.registry_with_log();
    let sidecar = writer(&registry, "token");
    let owner = tokens.token("the owner", &[("base", PUSH)]);
    let digest = sidecar.client().bearer(&owner).upload("base", b"a layer");
    let bearer = |access: &[(&str, &[&str])]| sidecar.client().bearer(&tokens.token("ci", access));

    let narrow = bearer(&[("app", PUSH)]);
    narrow.head_blob("app", &digest).expect(404);
    sourceless(&narrow, "app", &digest).expect(202);
    let forged = TokenIssuer::new().token("ci", &[("app", PUSH), ("base", PULL)]);
    let forged = sidecar.client().bearer(&forged);
    forged.head_blob("app", &digest).expect(401);
    let reads = || {
        registry
            .log()
            .matches(&format!("GET /v2/base/blobs/{digest}"))
            .count()
    };
    assert_eq!(reads(), 0, "the source was asked for");

    let wide = bearer(&[("app", PUSH), ("base", PULL)]);
    wide.head_blob("app", &digest).expect(200);
    wait_until("the read is in the log", || reads() == 1);
    assert_eq!(saved(&sidecar, "head"), 7);
    assert_eq!(sidecar.mounts("native", "none"), 1);
}

#[test]
fn in_mode_upstream_a_login_is_tried_where_it_was_seen() {
    needs!("docker-registry");
    let registry = Registry::with_htpasswd(&[("alice", "right"), ("bob", "also right")]);
    let sidecar = writer(&registry, "upstream");
    let alice = sidecar.client().basic("alice", "right");
    let digest = alice.upload("base", b"a layer");
    let bob = sidecar.client().basic("bob", "also right");
    bob.head_blob("app", &digest).expect(404);
    alice.head_blob("app", &digest).expect(200);
    bob.blob("base", &digest).expect(200);
    bob.head_blob("other", &digest).expect(200);
}

#[test]
fn a_source_that_does_not_hold_the_layer_is_replaced_and_its_upload_ended() {
    needs!("docker-registry");
    let (registry, sidecar, client) = open_registry();
    let digest = client.upload("base", b"a layer");
    client.mount("app", &digest, "nowhere").expect(201);
    assert_eq!(saved(&sidecar, "discovery"), 7);
    // distribution leaves the upload's hash states behind, and nothing that it could go on with.
    wait_until("the upload is ended", || {
        let files = registry.store.files();
        !files
            .iter()
            .any(|file| file.contains("/_uploads/") && file.ends_with("/startedat"))
    });
    // A layer that no repository holds is uploaded.
    let answer = client
        .mount("app", &support::digest_of(b"new"), "base")
        .expect(202);
    client.finish(&answer, b"new").expect(201);
}

#[test]
fn a_source_that_the_client_named_is_the_registrys_and_saves_nothing_more() {
    needs!("docker-registry");
    let (_registry, sidecar, client) = open_registry();
    let digest = client.upload("base", b"a layer");
    client.mount("app", &digest, "base").expect(201);
    assert_eq!(sidecar.mounts("native", "none"), 1);
    assert_eq!(saved(&sidecar, "from") + saved(&sidecar, "discovery"), 0);
}

#[test]
fn a_layer_whose_data_only_the_registrys_cache_knows_is_not_mounted() {
    needs!("docker-registry");
    let registry = Registry::with_hot_cache();
    let sidecar = writer(&registry, "none");
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    client.head_blob("base", &digest).expect(200);
    fs::remove_file(registry.store.data(&digest)).unwrap();
    registry.client().head_blob("base", &digest).expect(200);
    client.head_blob("app", &digest).expect(404);
    sourceless(&client, "app", &digest).expect(202);
    assert!(!registry.store.has_link("app", &digest));
    assert_eq!(sidecar.mounts("native", "none"), 0);
}

#[test]
fn a_read_only_registry_answers_as_without_crossmount() {
    needs!("docker-registry");
    let mut registry = Registry::start();
    let sidecar = writer(&registry, "none");
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    registry.read_only(true);
    registry.restart();
    wait_until("the registry is reached again", || {
        client.get("/v2/").status == 200
    });
    client.head_blob("app", &digest).expect(404);
    client.mount("app", &digest, "base").expect(405);
    sourceless(&client, "app", &digest).expect(405);
}

#[test]
fn a_registry_with_logins_is_never_taken_for_an_open_one() {
    needs!("docker-registry");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let sidecar = writer(&registry, "none");
    wait_until("the log says so", || sidecar.log().contains("access.mode"));
    let alice = sidecar.client().basic("alice", "right");
    let digest = alice.upload("base", b"a layer");
    // The registry decides, whatever is tried.
    sidecar.client().head_blob("app", &digest).expect(401);
    assert!(!registry.store.has_link("app", &digest));
}

#[test]
fn a_caller_whom_the_registry_refuses_causes_no_request_for_a_source() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    for mode in ["htpasswd", "token"] {
        let mut registry = if mode == "token" {
            Registry::prepared(|config| {
                tokens.configure(config);
                log_requests(config);
            })
        } else {
            Registry::prepared(log_requests)
        };
        if mode == "htpasswd" {
            registry.demand_passwords(&[("alice", "right")]);
        }
        registry.resume();
        let sidecar = writer(&registry, mode);
        let client = sidecar.client();
        let all = [("base", PUSH), ("app", PUSH), ("other", PULL)];
        let (owner, refused) = if mode == "token" {
            let forged = TokenIssuer::new().token("ci", &all);
            (
                client.clone().bearer(&tokens.token("owner", &all)),
                client.bearer(&forged),
            )
        } else {
            let alice = client.clone().basic("alice", "right");
            (alice, client.basic("alice", "wrong"))
        };
        let digest = owner.upload("base", b"a layer");
        let reads = || {
            let line = format!("GET /v2/base/blobs/{digest}");
            registry.log().matches(&line).count()
        };
        for _ in 0..2 {
            refused.mount("app", &digest, "other").expect(401);
            refused.mount("app", &digest, "base").expect(401);
            sourceless(&refused, "app", &digest).expect(401);
            refused.head_blob("app", &digest).expect(401);
        }
        owner.mount("app", &digest, "other").expect(201);
        wait_until("the byte is read for the owner", || reads() > 0);
        assert_eq!(reads(), 1, "{mode}");
    }
}
