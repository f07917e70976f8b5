//! A HEAD in a repository to which nothing was ever pushed.

use crate::{needs, support};
use serde_json::{Value, json};
use support::registry::Registry;
use support::registry_client::{Client, encoded};
use support::sidecar::Sidecar;
use support::version::version;

/// No HEAD makes a repository here.
fn strict(registry: &Registry) -> Sidecar {
    let sidecar = Sidecar::with(registry, |config| {
        config["discovery"] = json!({
            "enabled": true, "on_head": true, "sources": "any", "new_repositories": false,
        });
    });
    sidecar.verify_store();
    sidecar
}

fn catalog(client: &Client) -> Vec<String> {
    let answer = client.get("/v2/_catalog").expect(200);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    serde_json::from_value(answer["repositories"].clone()).unwrap()
}

#[test]
fn a_head_makes_its_repository_appear_unless_that_is_forbidden() {
    needs!("docker-registry");
    for is_strict in [false, true] {
        let registry = Registry::start();
        let sidecar = if is_strict {
            strict(&registry)
        } else {
            Sidecar::with_discovery(&registry)
        };
        let (client, direct) = (sidecar.client(), registry.client());
        let digest = client.upload("team/base", b"a layer");
        direct.head_blob("team/tpyo", &digest).expect(404);
        let listed: &[&str] = if version().lists_layers_alone() {
            &["proof/of-store", "team/base"]
        } else {
            &[]
        };
        assert_eq!(catalog(&direct), listed);
        let through = client.head_blob("team/tpyo", &digest).status;
        assert_eq!(through, if is_strict { 404 } else { 200 });
        let is_listed = catalog(&direct).contains(&"team/tpyo".to_owned());
        assert_eq!(is_listed, !is_strict && version().lists_layers_alone());
        let is_there = registry.store.repository("team/tpyo").exists();
        assert_ne!(is_there, is_strict);
    }
}

#[test]
fn heads_mount_only_into_existing_repositories_and_mounts_always_do() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = strict(&registry);
    let client = sidecar.client();
    let digest = client.upload("team/base", b"a layer");
    let other = client.upload("team/base", b"another");
    // One below it is not it.
    client.head_blob("team", &digest).expect(404);
    client.mount("named", &digest, "team/base").expect(201);
    let path = format!("/v2/found/blobs/uploads/?mount={}", encoded(&digest));
    client.request("POST", &path).send(client.port).expect(201);
    client.begin("begun");
    for target in ["named", "found", "begun"] {
        client.head_blob(target, &other).expect(200);
    }
    assert_eq!(sidecar.mounted(), 5);
    assert_eq!(sidecar.all_mounts().len(), 1, "{:?}", sidecar.all_mounts());
    // The suggestion is as good as before.
    client.head_blob("named", &other).expect(200);
}
