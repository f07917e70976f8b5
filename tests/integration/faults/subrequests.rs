//! Questions of the sidecar's own meet failing upstreams, in every way of deciding about access:
//! the mount goes to the registry, once, and nothing is linked on half an answer.

use super::upstream_failures::faults;
use super::upstream_keepalive::{leaving, moments};
use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use support::access_control::upstream_mode;
use support::figures::{amount, is_long, note};
use support::misbehaving_upstream::Reply;
use support::registry_client::Client;
use support::scripted_registry::{ScriptedRegistry, allowed};
use support::sidecar::generous_time_budget;
use support::token_issuer::TokenIssuer;
use support::{tools, wait_until};

/// Ways of deciding, each with somebody who may mount into all of `targets`.
fn modes(tokens: &TokenIssuer, targets: &[String]) -> Vec<(&'static str, Value, Client)> {
    let entries = tools::run(Command::new("htpasswd").args(["-nbB", "-C", "4", "alice", "right"]));
    let passwords = tokens.certificate().with_file_name("htpasswd");
    fs::write(&passwords, entries.stdout).unwrap();
    let alice = Client::new(0).basic("alice", "right");
    let mut by_token = json!({});
    tokens.verify_here(&mut by_token);
    let all: &[&str] = &["pull", "push"];
    let access: Vec<_> = targets.iter().map(|target| (&**target, all)).collect();
    let bearer = Client::new(0).bearer(&tokens.token("alice", &access));
    let by_file = json!({"mode": "htpasswd", "htpasswd": {"path": passwords}});
    vec![
        ("none", json!({"mode": "none"}), alice.clone()),
        ("upstream", json!({"mode": "upstream"}), alice.clone()),
        ("htpasswd", by_file, alice),
        ("token", by_token["access"].clone(), bearer),
    ]
}

#[test]
fn a_question_that_gets_no_answer_leaves_the_mount_to_the_registry() {
    needs!("openssl", "htpasswd");
    let tokens = TokenIssuer::new();
    let mut targets: Vec<_> = (0..faults().len()).map(|at| format!("fault{at}")).collect();
    targets.extend(["source".to_owned(), "fine".to_owned()]);
    let mut asked = 0;
    for (mode, access, client) in modes(&tokens, &targets) {
        let faults = faults();
        let upstream = ScriptedRegistry::start(move |heard| {
            let question = heard.target.strip_prefix("/v2/fault")?;
            let (number, _) = question.split_once('/')?;
            let fault = &faults[number.parse::<usize>().ok()?];
            let is_question = heard.method == "PATCH" && heard.is_the_sidecars();
            is_question.then(|| Reply::Steps(fault.steps.clone()))
        });
        let sidecar = upstream.sidecar(|config| {
            config["access"] = access;
            generous_time_budget(config);
        });
        let digest = upstream.plant("source", b"a layer");
        let client = client.at(sidecar.port);
        for (at, fault) in super::upstream_failures::faults().iter().enumerate() {
            let target = format!("fault{at}");
            let what = format!("{mode}: {}", fault.name);
            let answer = client.mount(&target, &digest, "source");
            assert_eq!(answer.status, 202, "{what}");
            let within = format!("/v2/{target}/");
            let times = |method| {
                let mut heard = upstream.heard(method);
                heard.retain(|heard| heard.target.starts_with(&within));
                heard.len()
            };
            assert_eq!(times("POST"), 1, "{what}");
            // Who has access is one question there, which is not asked again for a second.
            let is_asked_once_for_all = mode == "none" && !is_long();
            let asked_here = times("PATCH");
            assert!(asked_here <= 1, "{what}");
            assert!(asked_here == 1 || is_asked_once_for_all, "{what}");
            if mode == "none" && is_long() {
                sleep(Duration::from_millis(1100));
            }
            assert!(!upstream.store.repository(&target).exists(), "{what}");
            asked += asked_here as u64;
        }
        assert_eq!(sidecar.mounted(), 0, "{mode}");
        // None of it was taken for the registry's absence, or for a refusal.
        wait_until("a mount is answered here", || {
            client.mount("fine", &digest, "source").status == 201
        });
        assert_eq!(sidecar.mounted(), 1, "{mode}");
        assert_eq!(sidecar.mounts("native", "none"), 0, "{mode}");
    }
    note(
        "Upstream",
        "crossmount's own question about a mount's rights gets a broken answer, 429, 5xx or rubbish; \
         access by none, upstream, htpasswd and token",
        asked,
        "one question, one plain answer of the registry's, no link; the next mount is as always",
    );
}

#[test]
fn a_question_on_a_kept_connection_that_ends_fails_no_mount() {
    let mut asked = 0;
    let mut linked = 0;
    for (moment, steps) in moments() {
        let upstream = ScriptedRegistry::start(move |heard| {
            let is_question = heard.method == "PATCH" && heard.is_the_sidecars();
            is_question.then(|| leaving(heard.nth, allowed(), &steps))
        });
        let sidecar = upstream.sidecar(|config| {
            upstream_mode(config);
            // A busy machine is not to blame.
            generous_time_budget(config);
        });
        let digest = upstream.plant("source", b"a layer");
        let many = amount(10, 200);
        for at in 0..many {
            let client = sidecar.client().basic(&format!("user{at}"), "x");
            let target = format!("target{at}");
            let status = client.mount(&target, &digest, "source").status;
            let is_linked = upstream.store.has_link(&target, &digest);
            assert!([201, 202].contains(&status), "{moment}: {status}");
            assert_eq!(is_linked, status == 201, "{moment}: {target}");
        }
        let (questions, mounted) = (upstream.heard("PATCH").len(), sidecar.mounted());
        let mounted = usize::try_from(mounted).unwrap();
        assert!(questions <= 2 * many, "{moment}: {questions}");
        assert_eq!(upstream.heard("POST").len(), many - mounted, "{moment}");
        // Every other question at least has a connection of its own.
        assert!(2 * mounted >= many, "{moment}: {mounted} of {many}");
        wait_until("it is idle", || {
            sidecar.metric("crossmount_requests_in_flight", &[]) == 0.0
        });
        asked += many;
        linked += mounted;
    }
    note(
        "Upstream",
        "the kept connection of crossmount's own questions ends at the worst moments",
        asked as u64,
        &format!("{linked} mounted here, the rest answered by the registry, once"),
    );
}
