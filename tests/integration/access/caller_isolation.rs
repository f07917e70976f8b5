//! What one caller does takes nothing from another.

use crate::{needs, support};
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::access_control::{
    BLOB, behind_passwords, htpasswd_mode, upstream_mode, with_passwords_here, with_tokens_here,
};
use support::misbehaving_upstream::{Reply, answer};
use support::registry::Registry;
use support::registry_client::Client;
use support::scripted_registry::{ScriptedRegistry, refused};
use support::sidecar::{Sidecar, generous_time_budget};
use support::sidecar_metrics::most_questions;
use support::stop_guard::StopGuard;
use support::token_issuer::{TokenIssuer, now};
use support::wait_until;

const ALL: &[&str] = &["pull", "push"];

/// A neighbour's request that a writable registry answers with 405 takes no mount from `alice`.
#[track_caller]
fn takes_nothing(sidecar: &Sidecar, alice: &Client, digest: &str, neighbour: &Client) {
    let start = Instant::now();
    let blob = format!("/v2/bobs/blobs/{digest}");
    for (turn, (method, target)) in [
        ("DELETE", "/v2/bobs/tags/list"),
        ("POST", "/v2/bobs/manifests/x"),
        ("PUT", &blob),
        ("DELETE", "/v2/_catalog"),
    ]
    .iter()
    .enumerate()
    {
        alice
            .mount(&format!("t{turn}"), digest, "source")
            .expect(201);
        let answer = neighbour.request(method, target).send(sidecar.port);
        assert_eq!(answer.status, 405, "{method} {target}: {answer:?}");
    }
    alice.mount("t4", digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 5);
    // In `upstream` mode each target is asked about.
    let asked = sidecar.subrequests() - sidecar.decisions("allowed", "upstream");
    assert!(asked <= most_questions(start), "{asked}");
}

#[test]
fn a_method_that_does_not_fit_does_not_look_like_read_only() {
    needs!("docker-registry", "htpasswd");
    let (_registry, sidecar, digest) = with_passwords_here(&[("alice", "right"), ("bob", "b")]);
    let alice = sidecar.client().basic("alice", "right");
    let bob = sidecar.client().basic("bob", "b");
    takes_nothing(&sidecar, &alice, &digest, &bob);
    let (_registry, sidecar, digest) = behind_passwords(upstream_mode);
    let alice = sidecar.client().basic("alice", "right");
    let bob = sidecar.client().basic("bob", "also right");
    takes_nothing(&sidecar, &alice, &digest, &bob);
}

#[test]
fn nor_does_it_for_a_narrow_token() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let (_registry, sidecar, digest) = with_tokens_here(&tokens);
    let mut access = ["t0", "t1", "t2", "t3", "t4"]
        .map(|name| (name, ALL))
        .to_vec();
    access.push(("source", &["pull"]));
    let alice = sidecar.client().bearer(&tokens.token("alice", &access));
    let narrow = tokens.token("bob", &[("bobs", ALL), ("bobs", &["*"])]);
    let bob = sidecar.client().bearer(&narrow);
    for (turn, (method, target)) in [
        ("DELETE", "/v2/bobs/tags/list".to_owned()),
        ("POST", "/v2/bobs/manifests/x".to_owned()),
        ("PUT", format!("/v2/bobs/blobs/{digest}")),
    ]
    .iter()
    .enumerate()
    {
        alice
            .mount(&format!("t{turn}"), &digest, "source")
            .expect(201);
        let answer = bob.request(method, target).send(sidecar.port);
        assert!([401, 405].contains(&answer.status), "{answer:?}");
    }
    alice.mount("t4", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 4);
}

#[test]
fn refusals_outside_the_api_reveal_nothing_about_the_registry() {
    needs!("htpasswd");
    let passwords = Registry::with_htpasswd(&[("alice", "right")]);
    let registry = ScriptedRegistry::start(|heard| {
        let is_beside = !heard.target.starts_with("/v2/") || heard.target.contains("..");
        is_beside.then(|| Reply::Answer(answer("405 Not Allowed", "")))
    });
    let sidecar = registry.sidecar(htpasswd_mode(&passwords));
    let digest = registry.plant("source", BLOB);
    let alice = sidecar.client().basic("alice", "right");
    for (turn, target) in [
        "/ui/blobs/uploads/?mount=x",
        "/ui/blobs/x",
        "/v2/../ui/blobs/uploads/?mount=x",
    ]
    .iter()
    .enumerate()
    {
        alice
            .mount(&format!("t{turn}"), &digest, "source")
            .expect(201);
        for method in ["POST", "PUT"] {
            let stranger = sidecar.client().request(method, target);
            stranger.send(sidecar.port).expect(405);
        }
    }
    alice.mount("last", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 4);
}

#[test]
fn password_guessing_does_not_starve_confirmed_callers() {
    needs!("htpasswd");
    let passwords = Registry::with_htpasswd(&[("alice", "right")]);
    let entry = Command::new("htpasswd")
        .args(["-nbB", "-C", "10", "alice", "right"])
        .output();
    let file = passwords.home().join("htpasswd");
    fs::write(file, entry.unwrap().stdout).unwrap();
    // Played, so that the registry's own checks do not count.
    let registry = ScriptedRegistry::start(|heard| {
        let is_alice = heard.header("Authorization") == Some("Basic YWxpY2U6cmlnaHQ=");
        (!is_alice).then(|| Reply::Answer(refused()))
    });
    let sidecar = registry.sidecar(htpasswd_mode(&passwords));
    let digest = registry.plant("source", BLOB);
    let alice = sidecar.client().basic("alice", "right");
    alice.mount("t", &digest, "source").expect(201);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for guesser in 0..40 {
            let (sidecar, digest, done) = (&sidecar, &digest, &done);
            scope.spawn(move || {
                let mut turn = 0;
                while !done.load(Ordering::Relaxed) {
                    turn += 1;
                    let guess = format!("{guesser} {turn}");
                    let client = sidecar.client().basic("alice", &guess);
                    client.mount("stolen", digest, "source").expect(401);
                }
            });
        }
        let _over = StopGuard(&done);
        // Until no decision is remembered any more.
        sleep(Duration::from_millis(10_500));
        for turn in 0..40 {
            alice
                .mount(&format!("t{turn}"), &digest, "source")
                .expect(201);
        }
    });
    assert_eq!(sidecar.mounted(), 41);
    assert!(sidecar.mounts("forwarded", "overload") > 0);
    let peak = sidecar.memory("VmHWM");
    assert!(peak < 64 * 1024, "{peak} kB");
}

#[test]
fn an_expired_token_that_is_refused_does_not_discredit_its_issuer() {
    needs!("openssl");
    let tokens = TokenIssuer::new();
    let names: Vec<_> = (0..10).map(|at| format!("t{at}")).collect();
    let mut access: Vec<_> = names.iter().map(|name| (&**name, ALL)).collect();
    access.push(("source", &["pull"]));
    let good = tokens.token("alice", &access);
    let late = tokens.token_until(now() - 30, "bob", &[("bobs", ALL), ("source", ALL)]);
    // Its clock is ahead.
    let ended = format!("Bearer {late}");
    let registry = ScriptedRegistry::start(move |heard| {
        (heard.header("Authorization") == Some(&ended)).then(|| Reply::Answer(refused()))
    });
    let sidecar = registry.sidecar(|config| tokens.verify_here(config));
    let digest = registry.plant("source", BLOB);
    let (alice, bob) = (
        sidecar.client().bearer(&good),
        sidecar.client().bearer(&late),
    );
    alice.mount("t0", &digest, "source").expect(201);
    bob.mount("bobs", &digest, "source");
    assert!(!registry.store.repository("bobs").exists());
    let (asked, start) = (sidecar.subrequests(), Instant::now());
    for name in &names[1..] {
        alice.mount(name, &digest, "source").expect(201);
    }
    let asked = sidecar.subrequests() - asked;
    assert!(asked <= most_questions(start), "{asked}");
    assert_eq!(sidecar.mounts_with_reason("access_mismatch"), 0);
}

#[test]
fn probes_without_a_response_block_no_other_caller() {
    needs!("htpasswd");
    let users = [("alice", "right"), ("m1", "m"), ("m2", "m"), ("m3", "m")];
    let passwords = Registry::with_htpasswd(&users);
    let (waiting, over) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (counter, end) = (waiting.clone(), over.clone());
    let registry = ScriptedRegistry::start(move |heard| {
        if heard.method == "PATCH" && heard.target.contains("slow") {
            counter.fetch_add(1, Ordering::Relaxed);
            wait_until("the test is over", || end.load(Ordering::Relaxed));
        }
        None
    });
    let sidecar = registry.sidecar(|config| {
        htpasswd_mode(&passwords)(config);
        generous_time_budget(config);
    });
    let digest = registry.plant("source", BLOB);
    let alice = sidecar.client().basic("alice", "right");
    std::thread::scope(|scope| {
        for (user, password) in &users[1..] {
            let client = sidecar.client().basic(user, password);
            let digest = &digest;
            scope.spawn(move || client.mount(&format!("slow/{user}"), digest, "source"));
        }
        let _over = StopGuard(&over);
        wait_until("all of them wait", || waiting.load(Ordering::Relaxed) == 3);
        for turn in 0..10 {
            alice
                .mount(&format!("t{turn}"), &digest, "source")
                .expect(201);
        }
    });
}

#[test]
fn an_invalid_name_costs_no_other_caller_a_mount() {
    needs!("docker-registry");
    let registry = Registry::with_hot_cache();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let digest = client.upload("source", BLOB);
    let long = ["a".repeat(50).as_str(); 5].join("/");
    let alone = registry.client().mount(&long, &digest, "source").status;
    for turn in 0..10 {
        let behind = client.mount(&long, &digest, "source").status;
        assert_eq!(behind, alone);
        client
            .mount(&format!("t{turn}"), &digest, "source")
            .expect(201);
    }
    assert_eq!(sidecar.mounted(), 10);
    assert_eq!(sidecar.mounts("forwarded", "odd_request"), 10);
}
