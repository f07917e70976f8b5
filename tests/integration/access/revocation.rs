//! A right that was taken away mounts nothing for longer than a decision may be remembered.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::access_control::{
    behind_passwords, behind_tokens, upstream_mode, with_passwords_here, with_tokens_here,
};
use support::misbehaving_upstream::Reply;
use support::registry::Registry;
use support::registry_client::Client;
use support::scripted_registry::{ScriptedRegistry, refused};
use support::sidecar::Sidecar;
use support::token_issuer::TokenIssuer;
use support::wait_until;

/// The default of `access.decision_ttl`.
const TTL: Duration = Duration::from_secs(10);
/// A mount that is decided in time may still be answered a little later on a busy machine.
const GRACE: Duration = Duration::from_secs(2);

/// Mounts again and again until well after `revoked`, and wants no mount of the sidecar's own that
/// began later than the time to live after it.
#[track_caller]
fn mounts_nothing_later(client: &Client, sidecar: &Sidecar, digest: &str, revoked: Instant) {
    let done = || sidecar.mounted() + sidecar.mounts("already_linked", "none");
    let mut last = None;
    while revoked.elapsed() < TTL + GRACE {
        let before = done();
        let began = revoked.elapsed();
        client.mount("t0", digest, "source");
        let target = format!("t/{}", began.as_millis());
        client.mount(&target, digest, "source");
        if done() > before {
            last = Some(began);
        }
        sleep(Duration::from_millis(100));
    }
    assert!(last.is_none_or(|last| last <= TTL), "{last:?}");
    client.mount("at/last", digest, "source").expect(401);
}

fn remove(registry: &Registry, user: &str) {
    let path = &registry.config["auth"]["htpasswd"]["path"];
    let path = PathBuf::from(path.as_str().unwrap());
    let text = fs::read_to_string(&path).unwrap();
    let is_another = |line: &&str| !line.starts_with(&format!("{user}:"));
    let others: Vec<_> = text.lines().filter(is_another).collect();
    fs::write(&path, others.join("\n") + "\n").unwrap();
}

#[test]
fn a_user_who_is_removed_mounts_nothing_where_the_registry_is_asked() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = behind_passwords(upstream_mode);
    let bob = sidecar.client().basic("bob", "also right");
    bob.mount("t0", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    remove(&registry, "bob");
    mounts_nothing_later(&bob, &sidecar, &digest, Instant::now());
    let alice = sidecar.client().basic("alice", "right");
    alice.mount("t1", &digest, "source").expect(201);
}

#[test]
fn a_user_who_is_removed_mounts_nothing_where_passwords_are_checked_here() {
    needs!("docker-registry", "htpasswd");
    let users = [("alice", "right"), ("bob", "also right")];
    let (registry, sidecar, digest) = with_passwords_here(&users);
    let bob = sidecar.client().basic("bob", "also right");
    bob.mount("t0", &digest, "source").expect(201);
    remove(&registry, "bob");
    // The changed file counts at once, whatever is remembered.
    sleep(Duration::from_millis(200));
    bob.mount("t1", &digest, "source").expect(401);
    assert!(!registry.store.repository("t1").exists());
    assert_eq!(sidecar.mounted(), 1);
    assert_eq!(sidecar.mounts("forwarded", "denied"), 1);
    let alice = sidecar.client().basic("alice", "right");
    alice.mount("t1", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 2);
}

/// A token that the registry takes for three more seconds.
fn nearly_over(tokens: &TokenIssuer) -> String {
    let all: &[&str] = &["pull", "push"];
    let access = [("t0", all), ("t1", all), ("source", all)];
    tokens.token_until(support::token_issuer::now() - 57, "ci", &access)
}

#[track_caller]
fn expired_token_mounts_nothing(registry: &Registry, sidecar: &Sidecar, token: &str, digest: &str) {
    let client = sidecar.client().bearer(token);
    client.mount("t0", digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    wait_until("the registry refuses the token", || {
        client.at(registry.port).get("/v2/").status == 401
    });
    for _ in 0..3 {
        client.mount("t1", digest, "source").expect(401);
    }
    assert!(!registry.store.repository("t1").exists());
    assert_eq!(sidecar.mounted(), 1);
    // The end of a token is no contradiction.
    assert_eq!(sidecar.mounts_with_reason("access_mismatch"), 0);
}

#[test]
fn a_token_that_ran_out_mounts_nothing_where_the_registry_is_asked() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let (registry, sidecar, digest) = behind_tokens(&tokens, upstream_mode);
    expired_token_mounts_nothing(&registry, &sidecar, &nearly_over(&tokens), &digest);
}

#[test]
fn a_token_that_ran_out_mounts_nothing_where_tokens_are_verified_here() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let (registry, sidecar, digest) = with_tokens_here(&tokens);
    expired_token_mounts_nothing(&registry, &sidecar, &nearly_over(&tokens), &digest);
}

#[test]
fn a_repository_with_a_new_owner_is_not_read_with_old_permissions() {
    let is_anothers = Arc::new(AtomicBool::new(false));
    let anothers = is_anothers.clone();
    // A registry with rights of its own for each repository.
    let registry = ScriptedRegistry::start(move |heard| {
        let asks = matches!(&*heard.method, "PATCH" | "POST");
        let is_alices = heard.header("Authorization") == Some("Basic YWxpY2U6cmlnaHQ=");
        let may = !is_alices || !anothers.load(Ordering::Relaxed);
        (asks && !may).then(|| Reply::Answer(refused()))
    });
    let sidecar = registry.sidecar(upstream_mode);
    let old = registry.plant("source", b"what alice may read");
    let alice = sidecar.client().basic("alice", "right");
    alice.mount("t0", &old, "source").expect(201);
    // Deleted, and made anew by bob, with layers of his own.
    fs::remove_dir_all(registry.store.repository("source")).unwrap();
    is_anothers.store(true, Ordering::Relaxed);
    let revoked = Instant::now();
    let secret = registry.plant("source", b"what only bob may read");
    mounts_nothing_later(&alice, &sidecar, &secret, revoked);
    let bob = sidecar.client().basic("bob", "right");
    bob.mount("t1", &secret, "source").expect(201);
}

#[test]
fn a_key_that_is_no_longer_trusted_verifies_nothing() {
    needs!("docker-registry", "openssl");
    let (old, new) = (TokenIssuer::new(), TokenIssuer::new());
    let (mut registry, _, digest) = behind_tokens(&old, upstream_mode);
    let bundle = registry.home().join("bundle.pem");
    fs::copy(old.certificate(), &bundle).unwrap();
    registry.kill();
    registry.config["auth"]["token"]["rootcertbundle"] = json!(bundle);
    registry.resume();
    let change = |config: &mut Value| {
        old.verify_here(config);
        config["access"]["token"]["rootcertbundle"] = json!(bundle);
    };
    let sidecar = Sidecar::with(&registry, change);
    let all: &[&str] = &["pull", "push"];
    let access = [
        ("t0", all),
        ("t1", all),
        ("source", all),
        ("proof/of-store", all),
    ];
    let late = sidecar.client().bearer(&old.token("ci", &access));
    let fresh = sidecar.client().bearer(&new.token("ci", &access));
    sidecar.verify_store_as(&late);
    late.mount("t0", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    // The file changes for both; the registry reads it only at its start.
    fs::copy(new.certificate(), &bundle).unwrap();
    registry.restart();
    sleep(Duration::from_millis(200));
    late.mount("t1", &digest, "source");
    assert!(!registry.store.link("t1", &digest).exists());
    wait_until("the registry is reached again", || {
        fresh.get("/v2/").status == 200
    });
    late.mount("t1", &digest, "source").expect(401);
    sidecar.verify_store_as(&fresh);
    fresh.mount("t1", &digest, "source").expect(201);
    assert_eq!(sidecar.mounts_with_reason("access_mismatch"), 0);
    assert_eq!(sidecar.mounted(), 2);
}

#[test]
fn a_broken_bundle_keeps_the_old_keys_and_is_logged() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let (registry, _, digest) = behind_tokens(&tokens, upstream_mode);
    let bundle = registry.home().join("bundle.pem");
    fs::copy(tokens.certificate(), &bundle).unwrap();
    let sidecar = Sidecar::with(&registry, |config| {
        tokens.verify_here(config);
        config["access"]["token"]["rootcertbundle"] = json!(bundle);
    });
    let all: &[&str] = &["pull", "push"];
    let access = [
        ("t0", all),
        ("t1", all),
        ("source", all),
        ("proof/of-store", all),
    ];
    let client = sidecar.client().bearer(&tokens.token("ci", &access));
    sidecar.verify_store_as(&client);
    client.mount("t0", &digest, "source").expect(201);
    fs::write(&bundle, "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    wait_until("the log says so", || {
        client.mount("t0", &digest, "source").expect(201);
        let log = sidecar.log();
        log.contains("file reload failed") && log.contains("bundle.pem: ")
    });
    let again = tokens.token("ci again", &access);
    let client = sidecar.client().bearer(&again);
    client.mount("t1", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 2);
}
