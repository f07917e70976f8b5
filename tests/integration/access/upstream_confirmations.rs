//! Nothing is granted by a key or a password of which the registry itself has not said yes lately.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;
use support::access_control::{
    BLOB, challenge, htpasswd_mode, with_passwords_here, with_tokens_here,
};
use support::misbehaving_upstream::Reply;
use support::registry::Registry;
use support::scripted_registry::{ScriptedRegistry, refused};
use support::sidecar::Sidecar;
use support::token_issuer::TokenIssuer;
use support::{base64, wait_until};

const ALL: &[&str] = &["pull", "push"];
/// After it, the sidecar has looked at a changed file.
const SEEN: Duration = Duration::from_millis(200);

fn rights(tokens: &TokenIssuer) -> String {
    let names = ["t0", "t1", "t2", "t3", "source", "proof/of-store"];
    tokens.token("ci", &names.map(|name| (name, ALL)))
}

fn contradictions(sidecar: &Sidecar) -> usize {
    let said = "access decision contradicted by the registry";
    sidecar.log().matches(said).count()
}

#[test]
fn a_root_that_the_registry_will_read_at_its_next_start_gets_no_link_before() {
    needs!("docker-registry", "openssl");
    let (old, new) = (TokenIssuer::new(), TokenIssuer::new());
    let home = tempfile::tempdir().unwrap();
    let bundle = home.path().join("bundle.pem");
    fs::copy(old.certificate(), &bundle).unwrap();
    let mut registry = Registry::prepared(|config| {
        old.configure(config);
        config["auth"]["token"]["rootcertbundle"] = json!(bundle);
    });
    registry.resume();
    let owner = registry.client().bearer(&rights(&old));
    let digest = owner.upload("source", BLOB);
    let sidecar = Sidecar::with(&registry, |config| {
        old.verify_here(config);
        config["access"]["token"]["rootcertbundle"] = json!(bundle);
    });
    sidecar.verify_store_as(&owner);
    let (owner, early) = (
        owner.at(sidecar.port),
        sidecar.client().bearer(&rights(&new)),
    );
    owner.mount("t0", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    let texts = [&old, &new].map(|tokens| fs::read_to_string(tokens.certificate()).unwrap());
    fs::write(&bundle, texts.concat()).unwrap();
    sleep(SEEN);
    // The registry's word is fresh, and says nothing about the new root.
    owner.mount("t1", &digest, "source").expect(201);
    early.mount("t2", &digest, "source").expect(401);
    assert!(!registry.store.repository("t2").exists());
    assert_eq!(sidecar.mounts("forwarded", "access_mismatch"), 1);
    // What is said of the one key is not said of the other.
    let asked = sidecar.decisions("allowed", "upstream");
    owner.mount("t3", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 3);
    assert_eq!(sidecar.decisions("allowed", "upstream"), asked);
    wait_until("it is in the log", || contradictions(&sidecar) > 0);
    assert_eq!(contradictions(&sidecar), 1);
}

#[test]
fn another_password_needs_its_own_confirmation() {
    needs!("docker-registry", "htpasswd");
    // A copy in which bob is still right.
    let (registry, sidecar, digest) = with_passwords_here(&[("alice", "right")]);
    drop(sidecar);
    let theirs = registry.home().join("htpasswd");
    let mine = registry.home().join("copy");
    let others = Registry::with_htpasswd(&[("bob", "b")]);
    let bob = fs::read_to_string(others.home().join("htpasswd")).unwrap();
    fs::write(&mine, fs::read_to_string(theirs).unwrap() + &bob).unwrap();
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "htpasswd", "htpasswd": {"path": mine}});
    });
    let (alice, bob) = (
        sidecar.client().basic("alice", "right"),
        sidecar.client().basic("bob", "b"),
    );
    sidecar.verify_store_as(&alice);
    alice.mount("t0", &digest, "source").expect(201);
    bob.mount("t1", &digest, "source").expect(401);
    assert!(!registry.store.repository("t1").exists());
    alice.mount("t2", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 2);
    assert_eq!(sidecar.mounts("forwarded", "access_mismatch"), 1);
}

#[test]
fn a_login_that_did_not_reach_the_registry_contradicts_nothing() {
    needs!("docker-registry", "htpasswd");
    let (_registry, sidecar, digest) = with_passwords_here(&[("alice", "right")]);
    let alice = sidecar.client().basic("alice", "right");
    alice.mount("t0", &digest, "source").expect(201);
    let hiding = alice.clone().header("Connection", "close, Authorization");
    hiding.get("/v2/t0/tags/list").expect(401);
    let twice = sidecar
        .client()
        .basic("nobody", "x")
        .basic("alice", "right");
    twice.get("/v2/t0/tags/list").expect(401);
    alice.mount("t1", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 2);
    assert_eq!(sidecar.decisions("allowed", "htpasswd"), 2);
    assert_eq!(contradictions(&sidecar), 0);
}

#[test]
fn a_refusal_beside_the_registrys_api_contradicts_nothing() {
    needs!("htpasswd");
    let passwords = Registry::with_htpasswd(&[("alice", "right")]);
    let registry = ScriptedRegistry::start(|heard| {
        let is_refused = !heard.target.starts_with("/v2/") || heard.target.contains("secret");
        is_refused.then(|| Reply::Answer(refused()))
    });
    let sidecar = registry.sidecar(htpasswd_mode(&passwords));
    let digest = registry.plant("source", BLOB);
    let alice = sidecar.client().basic("alice", "right");
    alice.mount("t0", &digest, "source").expect(201);
    for beside in ["/status", "/v2/../secret", "/v2/%2e%2e/secret"] {
        alice.get(beside).expect(401);
    }
    alice.mount("t1", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 2);
    assert_eq!(contradictions(&sidecar), 0);
    alice.get("/v2/secret/tags/list").expect(401);
    wait_until("a refusal of the API's is one", || {
        contradictions(&sidecar) == 1
    });
}

#[test]
fn a_refused_login_is_noticed_though_no_decision_is_remembered() {
    needs!("htpasswd");
    let passwords = Registry::with_htpasswd(&[("alice", "right")]);
    let registry =
        ScriptedRegistry::start(|heard| (heard.method == "GET").then(|| Reply::Answer(refused())));
    let sidecar = registry.sidecar(|config: &mut Value| {
        htpasswd_mode(&passwords)(config);
        config["access"]["decision_ttl"] = json!("0s");
    });
    let digest = registry.plant("source", BLOB);
    let alice = sidecar.client().basic("alice", "right");
    for (target, asked) in [("t0", 1), ("t1", 2)] {
        alice.mount(target, &digest, "source").expect(201);
        assert_eq!(registry.heard("PATCH").len(), asked);
    }
    alice.get("/v2/t0/tags/list").expect(401);
    wait_until("it is in the log", || contradictions(&sidecar) == 1);
}

#[test]
fn a_user_who_was_removed_a_moment_ago_is_no_contradiction() {
    needs!("docker-registry", "htpasswd");
    let users = [("alice", "right"), ("bob", "b")];
    let (registry, sidecar, digest) = with_passwords_here(&users);
    drop(sidecar);
    let sidecar = Sidecar::with(&registry, |config| {
        htpasswd_mode(&registry)(config);
        config["mount"]["dry_run"] = json!(true);
    });
    let (alice, bob) = (
        sidecar.client().basic("alice", "right"),
        sidecar.client().basic("bob", "b"),
    );
    sidecar.verify_store_as(&alice);
    let file = PathBuf::from(
        registry.config["auth"]["htpasswd"]["path"]
            .as_str()
            .unwrap(),
    );
    let text = fs::read_to_string(&file).unwrap();
    let alone = text.lines().next().unwrap().to_owned() + "\n";
    // The sidecar looked at the file less than a tenth of a second ago, and would link still: on a
    // busy machine not at the first attempt.
    let would_link_still = (0..50).any(|_| {
        fs::write(&file, &text).unwrap();
        wait_until("bob is back", || {
            bob.mount("t0", &digest, "source").status == 201
        });
        fs::write(&file, &alone).unwrap();
        let allowed = sidecar.decisions("allowed", "htpasswd");
        bob.mount("t1", &digest, "source").expect(401);
        sidecar.decisions("allowed", "htpasswd") > allowed
    });
    assert!(would_link_still);
    alice.mount("t2", &digest, "source").expect(201);
    assert_eq!(sidecar.mounts_with_reason("access_mismatch"), 0);
    assert_eq!(contradictions(&sidecar), 0);
}

/// An unsigned token that calls itself somebody's.
fn forged(subject: &str) -> String {
    let url_safe = |text: &str| {
        let text = base64(text.as_bytes()).replace('+', "-").replace('/', "_");
        text.trim_end_matches('=').to_owned()
    };
    let header = url_safe(r#"{"alg":"RS256","typ":"JWT"}"#);
    let claims = json!({
        "iss": "auth.test", "aud": "registry.test", "sub": subject,
        "exp": support::token_issuer::now() + 300, "access": [],
    });
    format!("{header}.{}.c2ln", url_safe(&claims.to_string()))
}

#[track_caller]
fn strangers_learn_nothing(tokens: &TokenIssuer, sidecar: &Sidecar, digest: &str) {
    let stranger = sidecar.client().bearer(&forged("alice"));
    let before = challenge(&stranger.mount("t0", digest, "source"));
    let narrow = tokens.token("alice", &[("t0", ALL)]);
    let alice = sidecar.client().bearer(&narrow);
    let first = challenge(&alice.mount("t0", digest, "source"));
    assert_eq!(first.scopes.len(), 2);
    // The same subject again, and so a plain upload.
    alice.mount("t0", digest, "source").expect(202);
    let after = challenge(&stranger.mount("t0", digest, "source"));
    assert_eq!(before, after);
}

#[test]
fn a_strangers_token_does_not_tell_what_its_subject_asked() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let (_registry, sidecar, digest) = with_tokens_here(&tokens);
    strangers_learn_nothing(&tokens, &sidecar, &digest);
}

#[test]
fn nor_does_it_where_the_registry_is_asked() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let (_registry, sidecar, digest) =
        support::access_control::behind_tokens(&tokens, support::access_control::upstream_mode);
    strangers_learn_nothing(&tokens, &sidecar, &digest);
}
