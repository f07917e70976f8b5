//! Registries with access control, and the sidecar in front of them.

use super::raw_http::Answer;
use super::registry::Registry;
use super::sidecar::Sidecar;
use super::token_issuer::TokenIssuer;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const BLOB: &[u8] = b"a blob behind access control";

pub fn upstream_mode(config: &mut Value) {
    config["access"] = json!({"mode": "upstream"});
}

pub fn challenging(config: &mut Value) {
    upstream_mode(config);
    config["mount"]["source_denied"] = json!("challenge");
}

/// Passwords checked by the sidecar itself, with the registry's own file.
pub fn htpasswd_mode(registry: &Registry) -> impl FnOnce(&mut Value) + use<> {
    let path = registry.config["auth"]["htpasswd"]["path"].clone();
    move |config| config["access"] = json!({"mode": "htpasswd", "htpasswd": {"path": path}})
}

/// A registry with passwords, and a sidecar that checks them itself, with its store verified.
pub fn with_passwords_here(users: &[(&str, &str)]) -> (Registry, Sidecar, String) {
    let registry = Registry::with_htpasswd(users);
    let first = registry.client().basic(users[0].0, users[0].1);
    let digest = first.upload("source", BLOB);
    let sidecar = Sidecar::with(&registry, htpasswd_mode(&registry));
    sidecar.verify_store_as(&first);
    (registry, sidecar, digest)
}

/// A registry that believes tokens, and a sidecar that verifies them itself, with its store verified.
pub fn with_tokens_here(tokens: &TokenIssuer) -> (Registry, Sidecar, String) {
    behind_tokens(tokens, |config| tokens.verify_here(config))
}

/// A registry with passwords, and a sidecar in front of it whose store is verified.
pub fn behind_passwords(change: impl FnOnce(&mut Value)) -> (Registry, Sidecar, String) {
    let registry = Registry::with_htpasswd(&[("alice", "right"), ("bob", "also right")]);
    let alice = registry.client().basic("alice", "right");
    let digest = alice.upload("source", BLOB);
    let sidecar = Sidecar::with(&registry, change);
    sidecar.verify_store_as(&alice);
    (registry, sidecar, digest)
}

/// A registry that believes tokens, and a sidecar in front of it whose store is verified.
pub fn behind_tokens(
    tokens: &TokenIssuer,
    change: impl FnOnce(&mut Value),
) -> (Registry, Sidecar, String) {
    let registry = tokens.registry();
    let all: &[&str] = &["pull", "push"];
    let token = tokens.token("the owner", &[("source", all), ("proof/of-store", all)]);
    let owner = registry.client().bearer(&token);
    let digest = owner.upload("source", BLOB);
    let sidecar = Sidecar::with(&registry, change);
    sidecar.verify_store_as(&owner);
    (registry, sidecar, digest)
}

/// What a Bearer challenge demands; its scopes and their actions come in any order.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge {
    pub rest: BTreeSet<String>,
    pub scopes: BTreeSet<(String, BTreeSet<String>)>,
}

#[track_caller]
pub fn challenge(answer: &Answer) -> Challenge {
    assert_eq!(answer.status, 401, "{answer:?}");
    let header = answer.header("Www-Authenticate").expect("a challenge");
    let header = header.strip_prefix("Bearer ").expect("a Bearer challenge");
    let (mut rest, mut scopes) = (BTreeSet::new(), BTreeSet::new());
    for part in header.split("\",") {
        let part = part.trim_end_matches('"');
        match part.strip_prefix("scope=\"") {
            Some(list) => scopes.extend(list.split(' ').map(|scope| {
                let (name, actions) = scope.rsplit_once(':').unwrap();
                (
                    name.to_owned(),
                    actions.split(',').map(str::to_owned).collect(),
                )
            })),
            None => assert!(rest.insert(part.to_owned())),
        }
    }
    Challenge { rest, scopes }
}
