//! What is decided here holds only beside a registry that lives, takes writes and agrees.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::access_control::{BLOB, htpasswd_mode, with_passwords_here, with_tokens_here};
use support::misbehaving_upstream::Reply;
use support::registry::Registry;
use support::registry_client::Client;
use support::scripted_registry::{ScriptedRegistry, allowed, refused};
use support::sidecar::Sidecar;
use support::sidecar_metrics::most_questions;
use support::store::listing;
use support::token_issuer::TokenIssuer;
use support::wait_until;

/// Beyond what the registry's word counts for.
const WORD_IS_OLD: Duration = Duration::from_millis(5100);

/// A mode that decides here, and a caller who may mount from `source` into `t0` to `t9`.
struct Setting {
    registry: Registry,
    sidecar: Sidecar,
    client: Client,
    digest: String,
    _tokens: Option<TokenIssuer>,
}

impl Setting {
    /// Starts the sidecar anew, with so much time for a mount.
    fn decide_within(&mut self, time_budget: &str) {
        self.sidecar = Sidecar::with(&self.registry, |config| {
            htpasswd_mode(&self.registry)(config);
            config["mount"]["time_budget"] = json!(time_budget);
        });
        self.client = self.sidecar.client().basic("alice", "right");
        self.sidecar
            .verify_store_as(&self.registry.client().basic("alice", "right"));
    }
}

fn by_password() -> Setting {
    let (registry, sidecar, digest) = with_passwords_here(&[("alice", "right")]);
    let client = sidecar.client().basic("alice", "right");
    Setting {
        registry,
        sidecar,
        client,
        digest,
        _tokens: None,
    }
}

fn by_token() -> Setting {
    let tokens = TokenIssuer::new();
    let (registry, sidecar, digest) = with_tokens_here(&tokens);
    let client = sidecar.client().bearer(&all_rights(&tokens));
    Setting {
        registry,
        sidecar,
        client,
        digest,
        _tokens: Some(tokens),
    }
}

/// The log is read by a thread of its own, and so a moment later.
#[track_caller]
fn is_said(sidecar: &Sidecar) {
    wait_until("the contradiction is in the log", || {
        sidecar
            .log()
            .contains("access decision contradicted by the registry")
    });
}

fn all_rights(tokens: &TokenIssuer) -> String {
    let names: Vec<_> = (0..10).map(|at| format!("t{at}")).collect();
    let all: &[&str] = &["pull", "push"];
    let mut access: Vec<_> = names.iter().map(|name| (&**name, all)).collect();
    access.extend([("source", all), ("proof/of-store", all)]);
    tokens.token("ci", &access)
}

fn read_only_registry_is_noticed(mut setting: Setting) {
    let Setting {
        sidecar,
        client,
        digest,
        ..
    } = &setting;
    client.mount("t0", digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    setting.registry.read_only(true);
    // In silence: no request of the sidecar's breaks, because none is on its way.
    setting.registry.restart();
    sleep(WORD_IS_OLD);
    let before = listing(&setting.registry.store.root);
    for target in ["t1", "t0", "t2"] {
        let status = setting
            .client
            .mount(target, &setting.digest, "source")
            .status;
        assert!([405, 502].contains(&status), "{status}");
    }
    assert_eq!(listing(&setting.registry.store.root), before);
    assert_eq!(setting.sidecar.mounted(), 1);
}

#[test]
fn a_read_only_registry_gets_no_link_for_a_password() {
    needs!("docker-registry", "htpasswd");
    read_only_registry_is_noticed(by_password());
}

#[test]
fn a_read_only_registry_gets_no_link_for_a_token() {
    needs!("docker-registry", "openssl");
    read_only_registry_is_noticed(by_token());
}

fn stopped_registry_is_noticed(mut setting: Setting) {
    setting
        .client
        .mount("t0", &setting.digest, "source")
        .expect(201);
    setting.registry.kill();
    // A connection that is refused ends its word at once.
    assert!(setting.client.get("/v2/").status >= 500);
    let before = listing(&setting.registry.store.root);
    for target in ["t1", "t2"] {
        let answer = setting.client.mount(target, &setting.digest, "source");
        assert!(answer.status >= 500, "{answer:?}");
    }
    assert_eq!(listing(&setting.registry.store.root), before);
    setting.registry.resume();
    wait_until("the registry is reached again", || {
        setting.client.get("/v2/").status == 200
    });
    // It may be another registry on another store: mounts are its own until a link was seen.
    setting
        .client
        .mount("t3", &setting.digest, "source")
        .expect(201);
    assert_eq!(setting.sidecar.mounts("native", "none"), 1);
    setting
        .client
        .mount("t4", &setting.digest, "source")
        .expect(201);
    assert_eq!(setting.sidecar.mounted(), 2);
}

#[test]
fn a_stopped_registry_gets_no_link_for_a_password() {
    needs!("docker-registry", "htpasswd");
    stopped_registry_is_noticed(by_password());
}

#[test]
fn a_stopped_registry_gets_no_link_for_a_token() {
    needs!("docker-registry", "openssl");
    stopped_registry_is_noticed(by_token());
}

#[test]
fn a_registry_that_hangs_gets_no_link() {
    needs!("docker-registry", "htpasswd");
    let mut setting = by_password();
    setting.decide_within("2s");
    setting
        .client
        .mount("t0", &setting.digest, "source")
        .expect(201);
    setting.registry.freeze();
    sleep(WORD_IS_OLD);
    let mut hanging = setting.client.connect();
    let path = support::registry_client::mount_target("t1", &setting.digest, "source");
    let request = setting.client.request("POST", &path);
    hanging.write(&request.bytes(setting.sidecar.port)).unwrap();
    sleep(Duration::from_secs(3));
    assert!(!setting.registry.store.link("t1", &setting.digest).exists());
    setting.registry.thaw();
    // The registry mounts it itself, late.
    assert_eq!(hanging.answer("POST").unwrap().status, 201);
    assert_eq!(setting.sidecar.mounts("forwarded", "timeout"), 1);
    assert_eq!(setting.sidecar.mounted(), 1);
}

#[test]
fn rotated_keys_that_only_the_registry_knows_are_noticed() {
    needs!("docker-registry", "openssl");
    let mut setting = by_token();
    let other = TokenIssuer::new();
    setting
        .client
        .mount("t0", &setting.digest, "source")
        .expect(201);
    setting.registry.kill();
    other.configure(&mut setting.registry.config);
    setting.registry.resume();
    let new = setting.client.at(setting.sidecar.port);
    wait_until("the registry is reached again", || {
        new.get("/v2/").status == 401
    });
    let owner = Client::new(setting.sidecar.port).bearer(&all_rights(&other));
    setting.sidecar.verify_store_as(&owner);
    sleep(WORD_IS_OLD);
    // The old token is good here, and the registry refuses it.
    let before = listing(&setting.registry.store.root);
    setting
        .client
        .mount("t1", &setting.digest, "source")
        .expect(401);
    assert_eq!(listing(&setting.registry.store.root), before);
    assert_eq!(setting.sidecar.mounts("forwarded", "access_mismatch"), 1);
    assert!(
        setting
            .sidecar
            .log()
            .contains("access decision contradicted by the registry")
    );
    // Nobody else's good question makes the old token good again.
    owner.mount("t2", &setting.digest, "source").expect(201);
    setting
        .client
        .mount("t1", &setting.digest, "source")
        .expect(401);
    assert!(!setting.registry.store.link("t1", &setting.digest).exists());
    assert_eq!(setting.sidecar.mounts("forwarded", "access_mismatch"), 2);
}

#[test]
fn tokens_in_front_of_a_registry_with_passwords_are_forwarded() {
    needs!("docker-registry", "openssl", "htpasswd");
    let tokens = TokenIssuer::new();
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let alice = registry.client().basic("alice", "right");
    let digest = alice.upload("source", BLOB);
    let sidecar = Sidecar::with(&registry, |config| tokens.verify_here(config));
    sidecar.verify_store_as(&alice);
    let client = sidecar.client().bearer(&all_rights(&tokens));
    for _ in 0..3 {
        client.mount("t1", &digest, "source").expect(401);
    }
    assert_eq!(sidecar.mounts("forwarded", "access_mismatch"), 3);
    assert!(!registry.store.repository("t1").exists());
    // Passwords are nothing to a token's judge, and everything to the registry.
    alice
        .at(sidecar.port)
        .mount("t2", &digest, "source")
        .expect(202);
    assert_eq!(sidecar.mounted(), 0);
}

/// Two keys are believed here; the registry drops one of them at a start that nobody notices.
#[test]
fn an_old_token_is_noticed_by_the_rest_of_its_push() {
    needs!("docker-registry", "openssl");
    let (old, new) = (TokenIssuer::new(), TokenIssuer::new());
    let mut registry = Registry::prepared(|config| new.configure(config));
    let both = registry.home().join("both.pem");
    let texts = [&old, &new].map(|tokens| fs::read_to_string(tokens.certificate()).unwrap());
    fs::write(&both, texts.concat()).unwrap();
    registry.config["auth"]["token"]["rootcertbundle"] = json!(both);
    registry.resume();
    let owner = registry.client().bearer(&all_rights(&new));
    let digest = owner.upload("source", BLOB);
    let sidecar = Sidecar::with(&registry, |config| {
        new.verify_here(config);
        config["access"]["token"]["rootcertbundle"] = json!(both);
        config["access"]["decision_ttl"] = json!("60s");
    });
    sidecar.verify_store_as(&owner);
    let (owner, late) = (
        owner.at(sidecar.port),
        sidecar.client().bearer(&all_rights(&old)),
    );
    for (client, target) in [(&owner, "t0"), (&late, "t1")] {
        client.mount(target, &digest, "source").expect(201);
    }
    assert_eq!(sidecar.mounted(), 2);
    // What the registry says of the scope alone is no contradiction.
    late.get("/v2/elsewhere/tags/list").expect(401);
    new.configure(&mut registry.config);
    registry.restart();
    late.get("/v2/t0/tags/list").expect(401);
    is_said(&sidecar);
    late.mount("t2", &digest, "source").expect(401);
    assert!(!registry.store.repository("t2").exists());
    assert_eq!(sidecar.mounts("forwarded", "access_mismatch"), 1);
    owner.mount("t3", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 3);
    assert_eq!(sidecar.decisions("allowed", "upstream"), 0);
}

#[test]
fn a_password_that_only_the_registry_dropped_is_noticed_by_the_rest_of_its_push() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = with_passwords_here(&[("alice", "right"), ("bob", "b")]);
    let mine = registry.home().join("copy");
    fs::copy(registry.home().join("htpasswd"), &mine).unwrap();
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "htpasswd", "htpasswd": {"path": mine}});
        drop(sidecar);
    });
    let alice = sidecar.client().basic("alice", "right");
    let bob = sidecar.client().basic("bob", "b");
    sidecar.verify_store_as(&bob);
    for (client, target) in [(&alice, "t0"), (&bob, "t1")] {
        client.mount(target, &digest, "source").expect(201);
    }
    assert_eq!(sidecar.mounted(), 2);
    let theirs = registry.home().join("htpasswd");
    let text = fs::read_to_string(&theirs).unwrap();
    fs::write(&theirs, text.lines().last().unwrap()).unwrap();
    wait_until("the registry does not know alice", || {
        alice.get("/v2/").status == 401
    });
    alice.mount("t2", &digest, "source").expect(401);
    assert!(!registry.store.repository("t2").exists());
    assert_eq!(sidecar.mounts("forwarded", "access_mismatch"), 1);
    bob.mount("t3", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 3);
}

/// A registry that allows everybody everything but those called mallory, whom it keeps waiting.
fn slow_with_mallory() -> (ScriptedRegistry, Arc<AtomicUsize>) {
    let waiting = Arc::new(AtomicUsize::new(0));
    let counter = waiting.clone();
    let registry = ScriptedRegistry::start(move |heard| {
        if heard.method != "PATCH" {
            return None;
        }
        let is_mallory = heard.header("X-Mallory").is_some() || heard.target.contains("mallory");
        if is_mallory {
            counter.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs(1));
            return Some(Reply::Answer(refused()));
        }
        Some(Reply::Answer(allowed()))
    });
    (registry, waiting)
}

#[test]
fn credentials_that_only_the_registry_can_judge_do_not_use_up_the_questions() {
    needs!("htpasswd");
    let (registry, waiting) = slow_with_mallory();
    let passwords = Registry::with_htpasswd(&[("alice", "right")]);
    let sidecar = registry.sidecar(|config: &mut Value| {
        htpasswd_mode(&passwords)(config);
        config["mount"] = json!({"time_budget": "20s"});
    });
    let digest = registry.plant("source", BLOB);
    let alice = sidecar.client().basic("alice", "right");
    let start = Instant::now();
    std::thread::scope(|scope| {
        for guesser in 0..16 {
            let (sidecar, digest) = (&sidecar, &digest);
            scope.spawn(move || {
                for turn in 0..3 {
                    // Too long for bcrypt, so that only the registry can tell.
                    let password = format!("{}{guesser} {turn}", "x".repeat(80));
                    let mallory = sidecar.client().basic("alice", &password);
                    mallory.mount("mallory", digest, "source").expect(202);
                }
            });
        }
        wait_until("many questions wait", || {
            waiting.load(Ordering::Relaxed) >= 8
        });
        for turn in 0..20 {
            alice
                .mount(&format!("t{turn}"), &digest, "source")
                .expect(201);
        }
    });
    assert_eq!(sidecar.mounted(), 20);
    let asked_for_alice = registry
        .heard("PATCH")
        .iter()
        .filter(|heard| !heard.target.contains("mallory"))
        .count() as u64;
    assert!(asked_for_alice <= most_questions(start));
    assert!(sidecar.subrequests() >= 48);
}
