//! What another process pushed is found in the store itself, without an index or a scan.

use crate::{needs, support};
use serde_json::{Value, json};
use support::access_control::htpasswd_mode;
use support::digest_of;
use support::discovery::discover_on_head;
use support::registry::Registry;
use support::registry_client::{Client, encoded};
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;
use support::token_issuer::TokenIssuer;

const LAYER: &[u8] = b"pushed where this process did not see it";

fn discovering(sources: &str, shared: &[&str]) -> Value {
    json!({"enabled": true, "on_head": true, "sources": sources, "shared_sources": shared})
}

fn searches(sidecar: &Sidecar, result: &str) -> u64 {
    whole(sidecar.metric("crossmount_store_searches_total", &[("result", result)]))
}

/// A mount that names no source.
fn mount_from_anywhere(client: &Client, target: &str, digest: &str) -> u16 {
    let target = format!("/v2/{target}/blobs/uploads/?mount={}", encoded(digest));
    client.request("POST", &target).send(client.port).status
}

#[test]
fn what_was_pushed_straight_to_the_registry_is_found_at_once() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    sidecar.wait_for_scan();
    let client = sidecar.client();
    let unknown = digest_of(b"pushed nowhere");
    client.head_blob("team/app", &unknown).expect(404);
    assert_eq!(searches(&sidecar, "not_found"), 1);
    for (number, source) in ["new", "far/new", "far/new/below", "team/new"]
        .iter()
        .enumerate()
    {
        let digest = registry
            .client()
            .upload(source, format!("{number}").as_bytes());
        client.head_blob("team/app", &digest).expect(200);
        assert_eq!(mount_from_anywhere(&client, "other/app", &digest), 201);
        assert_eq!(
            client.pull("team/app", &digest),
            format!("{number}").as_bytes()
        );
    }
    assert_eq!(sidecar.mounted(), 8);
    assert_eq!(searches(&sidecar, "found"), 4, "afterwards the index knows");
}

#[test]
fn two_replicas_and_a_restart_need_no_index() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right"), ("bob", "also right")]);
    let replica = || {
        let sidecar = Sidecar::with(&registry, |config| {
            htpasswd_mode(&registry)(config);
            config["discovery"] = discovering("any", &[]);
        });
        sidecar.verify_store_as(&registry.client().basic("alice", "right"));
        sidecar.wait_for_scan();
        sidecar
    };
    let (first, second) = (replica(), replica());
    let alice = first.client().basic("alice", "right");
    let digest = alice.upload("team-a/app", LAYER);
    let bob = second.client().basic("bob", "also right");
    bob.head_blob("team-b/app", &digest).expect(200);
    assert_eq!((first.mounted(), second.mounted()), (0, 1));
    drop(second);
    let third = replica();
    let digest = alice.upload("team-c/app", b"another layer");
    let bob = bob.at(third.port);
    bob.head_blob("team-b/app", &digest).expect(200);
    let path = format!("/v2/team-b/app/blobs/{digest}");
    bob.request("DELETE", &path).send(bob.port).expect(202);
    bob.head_blob("team-b/app", &digest).expect(404);
    alice.head_blob("team-b/app", &digest).expect(404);
}

#[test]
fn only_what_the_operator_allows_and_the_caller_may_pull_is_found() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let registry = tokens.registry();
    let all: &[&str] = &["pull", "push"];
    let names = ["base/os", "team/lib", "far/x", "proof/of-store"];
    let access: Vec<_> = names.iter().map(|name| (*name, all)).collect();
    let owner = tokens.token("owner", &access);
    for (sources, may_pull, found) in [
        ("shared", None, ["base/os"].as_slice()),
        ("shared", Some("far/x"), &["base/os"]),
        ("namespace", Some("team/lib"), &["base/os", "team/lib"]),
        ("namespace", Some("far/x"), &["base/os"]),
        ("any", Some("far/x"), &["base/os", "far/x"]),
        ("any", None, &["base/os"]),
    ] {
        let sidecar = Sidecar::with(&registry, |config| {
            tokens.verify_here(config);
            config["discovery"] = discovering(sources, &["base/*"]);
        });
        let owner = registry.client().bearer(&owner);
        sidecar.verify_store_as(&owner);
        sidecar.wait_for_scan();
        let pulls: &[&str] = &["pull"];
        let mut access = vec![("team/app", all)];
        access.extend(may_pull.map(|name| (name, pulls)));
        let client = sidecar.client().bearer(&tokens.token("ci", &access));
        for source in &names[..3] {
            let layer = format!("{source} {sources} {may_pull:?}");
            let digest = owner.upload(source, layer.as_bytes());
            let expected = if found.contains(source) { 200 } else { 404 };
            let seen = client.head_blob("team/app", &digest).status;
            assert_eq!(seen, expected, "{layer}");
        }
    }
}

#[test]
fn a_caller_who_may_not_push_to_the_target_causes_no_search() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let registry = tokens.registry();
    let (all, pulls): (&[&str], &[&str]) = (&["pull", "push"], &["pull"]);
    let owner = tokens.token("owner", &[("base/os", all), ("proof/of-store", all)]);
    let owner = registry.client().bearer(&owner);
    let sidecar = Sidecar::with(&registry, |config| {
        tokens.verify_here(config);
        config["discovery"] = discovering("any", &["base/*"]);
    });
    sidecar.verify_store_as(&owner);
    sidecar.wait_for_scan();
    let digest = owner.upload("base/os", LAYER);
    let reader = tokens.token("reader", &[("team/app", pulls), ("base/os", pulls)]);
    let reader = sidecar.client().bearer(&reader);
    reader.head_blob("team/app", &digest).expect(404);
    assert_eq!(mount_from_anywhere(&reader, "team/app", &digest), 401);
    let stranger = sidecar.client();
    stranger.head_blob("team/app", &digest).expect(401);
    for result in ["found", "not_found", "limit"] {
        assert_eq!(searches(&sidecar, result), 0);
    }
}

#[test]
fn an_operator_may_limit_the_search_or_turn_it_off() {
    needs!("docker-registry");
    let registry = Registry::start();
    let with = |setting: &str, value: Value| {
        let sidecar = Sidecar::with(&registry, |config| {
            discover_on_head(config);
            config["discovery"][setting] = value;
        });
        sidecar.verify_store();
        sidecar.wait_for_scan();
        sidecar
    };
    let sidecars = [
        with("search_repositories", json!(0)),
        with("search_repositories", json!(1)),
        with("search_time", json!("1ns")),
    ];
    let digest = registry.client().upload("z/last", LAYER);
    for (sidecar, limited) in sidecars.iter().zip([0, 1, 1]) {
        sidecar.client().head_blob("app", &digest).expect(404);
        assert_eq!(searches(sidecar, "limit"), limited);
        assert_eq!(searches(sidecar, "not_found"), 0);
    }
}
