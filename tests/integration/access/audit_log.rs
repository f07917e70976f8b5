//! Each link that is written has a line in the log: the registry's own log does not see it.

use crate::{needs, support};
use serde_json::{Value, json};
use support::access_control::{
    BLOB, behind_passwords, upstream_mode, with_passwords_here, with_tokens_here,
};
use support::registry::Registry;
use support::registry_client::Client;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::Sidecar;
use support::token_issuer::TokenIssuer;

/// The lines about links, once there are so many.
fn audit(sidecar: &Sidecar, count: usize) -> Vec<Value> {
    sidecar.log_lines_with("layer link written", count)
}

/// The one line about a mount from `source` into `target`.
#[track_caller]
fn one(sidecar: &Sidecar, client: &Client, digest: &str, user: &Value, proof: &str) {
    client.mount("target", digest, "source").expect(201);
    // Nothing is written a second time, and nothing said.
    client.mount("target", digest, "source").expect(201);
    client.mount("target", digest, "not/there");
    let lines = audit(sidecar, 1);
    assert_eq!(lines.len(), 1);
    let mut line = lines[0].clone();
    for varying in ["timestamp", "request_id"] {
        line.as_object_mut().unwrap().remove(varying).unwrap();
    }
    let mut wanted = json!({
        "level": "INFO", "message": "layer link written", "target": "target", "source": "source",
        "digest": digest, "bytes": BLOB.len(), "proof": proof, "user": user, "via": "from",
    });
    if user.is_null() {
        wanted.as_object_mut().unwrap().remove("user");
    }
    assert_eq!(line, wanted);
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn a_link_for_a_password_names_its_user() {
    needs!("docker-registry", "htpasswd");
    let (_registry, sidecar, digest) = with_passwords_here(&[("alice", "right")]);
    let alice = sidecar.client().basic("alice", "right");
    one(
        &sidecar,
        &alice,
        &digest,
        &"alice".into(),
        "password verified",
    );
}

#[test]
fn a_link_for_a_token_names_its_subject() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let (_registry, sidecar, digest) = with_tokens_here(&tokens);
    let all: &[&str] = &["pull", "push"];
    let access = [("target", all), ("source", all), ("not/there", all)];
    let client = sidecar
        .client()
        .bearer(&tokens.token("ci\nlinked", &access));
    one(
        &sidecar,
        &client,
        &digest,
        &"ci\\nlinked".into(),
        "token verified",
    );
}

#[test]
fn a_link_that_the_registry_allowed_names_whom_it_asked_for() {
    needs!("docker-registry", "htpasswd");
    let (_registry, sidecar, digest) = behind_passwords(upstream_mode);
    let alice = sidecar.client().basic("alice", "right");
    one(&sidecar, &alice, &digest, &"alice".into(), "registry asked");
}

#[test]
fn a_link_by_a_cached_decision_is_logged_as_such() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(upstream_mode);
    let client = sidecar.client().basic("alice", "right");
    for layer in 0..3_u8 {
        let digest = registry.plant("source", &[layer]);
        client.mount("target", &digest, "source").expect(201);
    }
    let proofs: Vec<_> = audit(&sidecar, 3)
        .iter()
        .map(|line| line["proof"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(proofs[0], "registry asked");
    assert!(
        proofs.contains(&"registry asked before".to_owned()),
        "{proofs:?}"
    );
}

#[test]
fn a_link_without_access_control_names_no_user() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let digest = registry.client().upload("source", BLOB);
    let client = sidecar.client().basic("anybody", "x");
    one(
        &sidecar,
        &client,
        &digest,
        &Value::Null,
        "no access control",
    );
}
