//! What the registry decided is remembered for seconds, for exactly the same question.

use crate::support;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::base64;
use support::misbehaving_upstream::{Reply, answer};
use support::registry_client::Client;
use support::scripted_registry::{ScriptedRegistry, allowed, refused};
use support::sidecar_metrics::most_questions;

/// Far beyond what these tests take on a slow machine.
const LONG: &str = "60s";

fn remembering(ttl: &'static str) -> impl FnOnce(&mut Value) {
    move |config| config["access"] = json!({"mode": "upstream", "decision_ttl": ttl})
}

fn questions(registry: &ScriptedRegistry) -> u64 {
    registry.heard("PATCH").len() as u64
}

/// Mounts many layers of one source into one target, as a push does.
fn push(client: &Client, registry: &ScriptedRegistry, layers: usize) {
    for layer in 0..layers {
        let digest = registry.plant("source", format!("layer {layer}").as_bytes());
        client.mount("target", &digest, "source").expect(201);
    }
}

/// A token as a client would show it, which nobody here verifies.
fn token_until(seconds: u64) -> String {
    let claims = json!({"sub": "ci", "exp": seconds}).to_string();
    let encoded = base64(claims.as_bytes()).replace('=', "");
    format!("e30.{encoded}.c2ln")
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

#[test]
fn a_push_of_forty_layers_asks_once() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(remembering(LONG));
    let client = sidecar.client().basic("alice", "right");
    let start = Instant::now();
    push(&client, &registry, 40);
    let most = most_questions(start);
    assert!((1..=most).contains(&questions(&registry)));
    assert_eq!(sidecar.mounted(), 40);
    let remembered = sidecar.decisions("allowed", "memory");
    assert_eq!(remembered + sidecar.decisions("allowed", "upstream"), 40);
    assert!(remembered >= 40 - most);
}

#[test]
fn another_question_is_asked_for_itself() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(remembering(LONG));
    let first = registry.plant("source", b"blob");
    registry.plant("other", b"blob");
    let alice = sidecar.client().basic("alice", "right");
    alice.mount("target", &first, "source").expect(201);
    for ((client, target, source), asked) in [
        (sidecar.client().basic("alice", "other"), "target", "source"),
        (sidecar.client().basic("bob", "right"), "target", "source"),
        (sidecar.client().bearer("alice"), "target", "source"),
        (alice.clone(), "target2", "source"),
        (alice.clone(), "target", "other"),
        (alice.clone(), "source", "target"),
    ]
    .iter()
    .zip(2..)
    {
        client.mount(target, &first, source);
        assert!(
            questions(&registry) >= asked,
            "{client:?} {target} {source}"
        );
    }
}

#[test]
fn a_request_without_credentials_is_neither_remembered_nor_served_from_memory() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(remembering(LONG));
    let digest = registry.plant("source", b"blob");
    let alice = sidecar.client().basic("alice", "right");
    alice.mount("target", &digest, "source").expect(201);
    for _ in 0..3 {
        sidecar
            .client()
            .mount("target", &digest, "source")
            .expect(202);
    }
    assert_eq!(sidecar.mounts("forwarded", "no_credentials"), 3);
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn equal_questions_at_once_ask_once() {
    let registry = ScriptedRegistry::start(|heard| {
        (heard.method == "PATCH").then(|| {
            sleep(Duration::from_millis(700));
            Reply::Answer(allowed())
        })
    });
    let sidecar = registry.sidecar(|config| {
        remembering(LONG)(config);
        config["mount"] = json!({"time_budget": "20s"});
    });
    let client = sidecar.client().basic("alice", "right");
    let digests: Vec<_> = (0..8_u8)
        .map(|layer| registry.plant("source", &[layer]))
        .collect();
    std::thread::scope(|scope| {
        for digest in &digests {
            let client = &client;
            scope.spawn(move || client.mount("target", digest, "source").expect(201));
        }
    });
    assert_eq!(questions(&registry), 1);
    assert_eq!(sidecar.mounted(), 8);
}

#[test]
fn a_refusal_is_remembered_for_a_second() {
    let registry = ScriptedRegistry::start(|heard| {
        (heard.method == "PATCH").then(|| Reply::Answer(refused()))
    });
    let sidecar = registry.sidecar(remembering(LONG));
    let digest = registry.plant("source", b"blob");
    let client = sidecar.client().basic("alice", "wrong");
    let start = Instant::now();
    for _ in 0..5 {
        client.mount("target", &digest, "source").expect(202);
    }
    let most = 1 + start.elapsed().as_secs();
    let asked = questions(&registry);
    assert!((1..=most).contains(&asked), "{asked} questions");
    sleep(Duration::from_millis(1100));
    client.mount("target", &digest, "source").expect(202);
    assert!(questions(&registry) > asked);
    assert_eq!(sidecar.mounts("forwarded", "denied"), 6);
}

#[test]
fn an_answer_that_decides_nothing_is_not_remembered() {
    for fault in [
        "500 Internal Server Error",
        "429 Too Many Requests",
        "silence",
    ] {
        let is_broken = Arc::new(AtomicBool::new(true));
        let broken = is_broken.clone();
        let registry = ScriptedRegistry::start(move |heard| {
            if heard.method != "PATCH" || !broken.load(Ordering::Relaxed) {
                return None;
            }
            if fault == "silence" {
                sleep(Duration::from_secs(2));
                return Some(Reply::Answer(allowed()));
            }
            Some(Reply::Answer(answer(fault, "")))
        });
        let sidecar = registry.sidecar(|config| {
            remembering(LONG)(config);
            config["mount"] = json!({"time_budget": "1s"});
        });
        let digest = registry.plant("source", b"blob");
        let client = sidecar.client().basic("alice", "right");
        client.mount("target", &digest, "source").expect(202);
        is_broken.store(false, Ordering::Relaxed);
        support::wait_until("it mounts again", || {
            client.mount("target", &digest, "source").status == 201
        });
    }
}

#[test]
fn a_decision_lives_as_long_as_configured() {
    let registry = ScriptedRegistry::start(|_| None);
    for (ttl, pause, wanted) in [("1s", 1100, 2), ("0s", 0, 2)] {
        let sidecar = registry.sidecar(remembering(ttl));
        let before = questions(&registry);
        let digest = registry.plant("source", ttl.as_bytes());
        let client = sidecar.client().basic("alice", ttl);
        client.mount("target", &digest, "source").expect(201);
        sleep(Duration::from_millis(pause));
        client.mount("target", &digest, "source").expect(201);
        assert_eq!(questions(&registry) - before, wanted, "{ttl}");
    }
}

#[test]
fn a_decision_does_not_outlive_the_token() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(remembering(LONG));
    let digest = registry.plant("source", b"blob");
    let ends = now().as_secs() + 2;
    let client = sidecar.client().bearer(&token_until(ends));
    client.mount("target", &digest, "source").expect(201);
    let asked = questions(&registry);
    support::wait_until("the token has run out", || now().as_secs() >= ends);
    for again in 1..=2 {
        client.mount("target", &digest, "source").expect(201);
        assert_eq!(questions(&registry), asked + again);
    }
    let long = sidecar.client().bearer(&token_until(ends + 3600));
    long.mount("target", &digest, "source").expect(201);
    long.mount("target", &digest, "source").expect(201);
    assert_eq!(questions(&registry), asked + 3);
}

#[test]
fn a_remembered_decision_does_not_make_the_registry_writable() {
    let is_read_only = Arc::new(AtomicBool::new(false));
    let read_only = is_read_only.clone();
    let registry = ScriptedRegistry::start(move |heard| {
        let writes = matches!(&*heard.method, "PATCH" | "POST");
        let no = || Reply::Answer(answer("405 Method Not Allowed", ""));
        (writes && read_only.load(Ordering::Relaxed)).then(no)
    });
    let sidecar = registry.sidecar(remembering(LONG));
    let digest = registry.plant("source", b"blob");
    let client = sidecar.client().basic("alice", "right");
    client.mount("target", &digest, "source").expect(201);
    is_read_only.store(true, Ordering::Relaxed);
    sleep(Duration::from_millis(5100));
    client.mount("later", &digest, "source").expect(405);
    client.mount("target", &digest, "source").expect(405);
    assert!(!registry.store.link("later", &digest).exists());
    assert_eq!(sidecar.mounted(), 1);
    assert!(sidecar.mounts("forwarded", "read_only") >= 1);
}

#[test]
fn a_cached_decision_is_checked_again_when_the_last_write_probe_is_stale() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(remembering(LONG));
    let client = sidecar.client().basic("alice", "right");
    push(&client, &registry, 1);
    assert_eq!(questions(&registry), 1);
    sleep(Duration::from_millis(5100));
    let digest = registry.plant("source", b"a late layer");
    client.mount("target", &digest, "source").expect(201);
    assert_eq!(questions(&registry), 2);
    assert_eq!(sidecar.mounted(), 2);
}

#[test]
fn what_the_registry_refuses_after_all_is_forgotten_at_once() {
    let is_gone = Arc::new(AtomicBool::new(false));
    let gone = is_gone.clone();
    let registry = ScriptedRegistry::start(move |heard| {
        let asks = matches!(&*heard.method, "PATCH" | "POST");
        (asks && gone.load(Ordering::Relaxed)).then(|| Reply::Answer(refused()))
    });
    let sidecar = registry.sidecar(remembering(LONG));
    let digest = registry.plant("source", b"blob");
    let client = sidecar.client().basic("alice", "right");
    client.mount("target", &digest, "source").expect(201);
    is_gone.store(true, Ordering::Relaxed);
    // This one is remembered to be allowed, but there is no such layer: the registry is asked for
    // an upload, and refuses.
    let absent = support::digest_of(b"not there");
    client.mount("target", &absent, "source").expect(401);
    client.mount("target", &digest, "source").expect(401);
    assert!(sidecar.mounts("forwarded", "denied") >= 1);
}
