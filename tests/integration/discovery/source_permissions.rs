//! How it is proved that a caller may pull a repository that it did not name. Nothing else counts.

use crate::{needs, support};
use serde_json::{Value, json};
use support::registry::Registry;
use support::registry_client::Client;
use support::sidecar::Sidecar;
use support::token_issuer::{Access, TokenIssuer};
use support::wait_until;

const ALL: &[&str] = &["pull", "push"];

fn anywhere(config: &mut Value) {
    config["discovery"] = json!({
        "enabled": true, "on_head": true, "sources": "any", "shared_sources": ["base/*"],
    });
}

/// A registry that believes tokens, with one layer in `base/os` and in `team/lib` each.
struct ByToken {
    tokens: TokenIssuer,
    registry: Registry,
    sidecar: Sidecar,
    shared: String,
    own: String,
}

impl ByToken {
    fn new(verify_here: bool) -> Self {
        let tokens = TokenIssuer::new();
        let registry = tokens.registry();
        let sidecar = Sidecar::with(&registry, |config| {
            if verify_here {
                tokens.verify_here(config);
            } else {
                config["access"] = json!({"mode": "upstream"});
            }
            anywhere(config);
        });
        let access = ["base/os", "team/lib", "proof/of-store"].map(|name| (name, ALL));
        let owner = sidecar.client().bearer(&tokens.token("owner", &access));
        sidecar.verify_store_as(&owner);
        Self {
            shared: owner.upload("base/os", b"shared"),
            own: owner.upload("team/lib", b"a team's own"),
            tokens,
            registry,
            sidecar,
        }
    }

    fn bearing(&self, access: &[Access]) -> Client {
        let token = self.tokens.token("ci", access);
        self.sidecar.client().bearer(&token)
    }
}

#[test]
fn a_token_that_names_pull_on_the_holder_grants_the_mount() {
    needs!("docker-registry", "openssl");
    for verify_here in [true, false] {
        let case = ByToken::new(verify_here);
        let only: &[Access] = &[("team/app", ALL)];
        case.bearing(only)
            .head_blob("team/app", &case.own)
            .expect(404);
        for actions in [&["push"][..], &[]] {
            let access: &[Access] = &[("team/app", ALL), ("team/lib", actions)];
            case.bearing(access)
                .head_blob("team/app", &case.own)
                .expect(404);
        }
        // Another token of the same subject was just good for it: that is none.
        let both: &[Access] = &[("team/other", ALL), ("team/lib", &["pull"])];
        case.bearing(both)
            .head_blob("team/other", &case.own)
            .expect(200);
        case.bearing(only)
            .head_blob("team/app", &case.own)
            .expect(404);
        let both: &[Access] = &[("team/app", ALL), ("team/lib", &["pull"])];
        case.bearing(both)
            .head_blob("team/app", &case.own)
            .expect(200);
        assert_eq!(case.sidecar.mounted(), 2);
    }
}

#[test]
fn what_is_declared_shared_needs_a_caller_who_may_push_to_the_target() {
    needs!("docker-registry", "openssl");
    for verify_here in [true, false] {
        let case = ByToken::new(verify_here);
        for access in [
            &[("team/app", &["pull"][..])][..],
            &[("team/other", ALL)],
            &[("base/os", ALL)],
            &[],
        ] {
            let answer = case.bearing(access).head_blob("team/app", &case.shared);
            assert_ne!(answer.status, 200, "{access:?}");
        }
        let expired = case.tokens.expired("ci", &[("team/app", ALL)]);
        let expired = case.sidecar.client().bearer(&expired);
        expired.head_blob("team/app", &case.shared).expect(401);
        let foreign = TokenIssuer::new().token("ci", &[("team/app", ALL)]);
        let foreign = case.sidecar.client().bearer(&foreign);
        foreign.head_blob("team/app", &case.shared).expect(401);
        assert_eq!(case.sidecar.mounted(), 0);
        let access: &[Access] = &[("team/app", ALL)];
        case.bearing(access)
            .head_blob("team/app", &case.shared)
            .expect(200);
        wait_until("its proof is in the log", || {
            case.sidecar.log().contains("source declared shared")
        });
        assert!(case.registry.store.link("team/app", &case.shared).exists());
    }
}

/// A registry with two users, asked about each mount.
fn with_users() -> (Registry, Sidecar) {
    let registry = Registry::with_htpasswd(&[("alice", "right"), ("bob", "also right")]);
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "upstream"});
        anywhere(config);
    });
    sidecar.verify_store_as(&sidecar.client().basic("alice", "right"));
    (registry, sidecar)
}

#[test]
fn a_login_may_be_given_what_this_very_login_was_seen_to_use() {
    needs!("docker-registry", "htpasswd");
    let (_registry, sidecar) = with_users();
    let alice = sidecar.client().basic("alice", "right");
    let bob = sidecar.client().basic("bob", "also right");
    let digest = alice.upload("team/lib", b"a team's own");
    // The registry would let him, but it was not seen.
    bob.head_blob("team/app", &digest).expect(404);
    sidecar
        .client()
        .basic("alice", "wrong")
        .head_blob("team/app", &digest)
        .expect(401);
    alice.head_blob("team/app", &digest).expect(200);
    bob.head_blob("team/lib", &digest).expect(200);
    bob.head_blob("team/bobs", &digest).expect(200);
    assert_eq!(sidecar.mounted(), 2);
}

#[test]
fn every_user_of_the_password_file_may_pull_everything() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right"), ("bob", "also right")]);
    let path = registry.config["auth"]["htpasswd"]["path"].clone();
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "htpasswd", "htpasswd": {"path": path}});
        anywhere(config);
    });
    let alice = sidecar.client().basic("alice", "right");
    sidecar.verify_store_as(&alice);
    let digest = alice.upload("team/lib", b"a team's own");
    sidecar
        .client()
        .basic("bob", "wrong")
        .head_blob("team/app", &digest)
        .expect(401);
    sidecar.client().head_blob("team/app", &digest).expect(401);
    let bob = sidecar.client().basic("bob", "also right");
    bob.head_blob("team/app", &digest).expect(200);
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn a_registry_that_is_open_only_to_some_does_not_count_as_open() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right"), ("bob", "too")]);
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "none"});
        anywhere(config);
    });
    let alice = sidecar.client().basic("alice", "right");
    sidecar.verify_store_as(&alice);
    let digest = alice.upload("team/lib", b"a team's own");
    sidecar.client().head_blob("team/app", &digest).expect(401);
    assert!(!registry.store.link("team/app", &digest).exists());
    // From then on each login counts by what it was seen to use.
    let bob = sidecar.client().basic("bob", "too");
    bob.head_blob("team/app", &digest).expect(404);
    alice.head_blob("team/app", &digest).expect(200);
}
