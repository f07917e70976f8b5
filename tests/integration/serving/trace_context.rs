//! A client's trace: our own questions belong to it, and log lines name it.

use crate::{needs, support};
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;
use support::access_control::behind_passwords;
use support::digest_of;
use support::discovery::discover_on_head;
use support::misbehaving_upstream::{MisbehavingUpstream, ReceivedRequest, Reply, answer};
use support::registry::Registry;
use support::registry_client::{Client, encoded};
use support::scripted_registry::{ScriptedRegistry, allowed};
use support::sidecar::Sidecar;

fn id(number: u32) -> String {
    format!("4bf92f3577b34da6a3ce929d{number:08x}")
}

fn parent(number: u32) -> String {
    format!("00-{}-00f067aa0ba902b7-01", id(number))
}

fn traced(client: &Client, number: u32) -> Client {
    client.clone().header("traceparent", &parent(number))
}

fn upstream_mode(config: &mut Value) {
    config["access"] = json!({"mode": "upstream"});
}

/// Traces of what was asked.
fn traces(heard: &[ReceivedRequest]) -> Vec<Option<&str>> {
    heard
        .iter()
        .map(|heard| heard.header("traceparent"))
        .collect()
}

/// The `trace_id` of the lines with this message, in their order. A request's line comes after
/// its answer, so the lines of two requests may change places.
fn named(sidecar: &Sidecar, message: &str, count: usize) -> Vec<Option<String>> {
    let lines = sidecar.log_lines_with(message, count);
    let id = |line: Value| line["trace_id"].as_str().map(str::to_owned);
    lines.into_iter().map(id).collect()
}

#[test]
fn a_question_about_rights_belongs_to_the_clients_trace() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(upstream_mode);
    let digest = registry.plant("source", b"blob");
    let states = ["rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE"];
    let client = |number: u32| {
        let user = sidecar.client().basic(&format!("user{number}"), "right");
        traced(&user, number)
    };
    client(1)
        .header("tracestate", states[0])
        .header("tracestate", states[1])
        .mount("one", &digest, "source")
        .expect(201);
    client(2)
        .header("tracestate", &"x".repeat(600))
        .mount("two", &digest, "source")
        .expect(201);
    // Two of them are no trace, and a state without one is none.
    client(3)
        .header("traceparent", &parent(4))
        .header("tracestate", states[0])
        .mount("three", &digest, "source")
        .expect(201);
    let plain = sidecar.client().basic("user4", "right");
    let plain = plain
        .header("traceparent", "00-nonsense")
        .header("tracestate", states[0]);
    plain.mount("four", &digest, "source").expect(201);
    let probes = registry.heard("PATCH");
    let (one, two) = (parent(1), parent(2));
    assert_eq!(traces(&probes), [Some(&*one), Some(&two), None, None]);
    let states: Vec<_> = probes
        .iter()
        .map(|probe| probe.header("tracestate"))
        .collect();
    let joined = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
    assert_eq!(states, [Some(joined), None, None, None]);
    let wanted = [Some(id(1)), Some(id(2)), None, None];
    assert_eq!(named(&sidecar, "layer link written", 4), wanted);
    // The proof's request has none.
    let mut of_requests = named(&sidecar, "request", 5);
    of_requests.sort();
    let wanted = [None, None, None].into_iter();
    let wanted: Vec<_> = wanted.chain([Some(id(1)), Some(id(2))]).collect();
    assert_eq!(of_requests, wanted);
}

#[test]
fn a_forwarded_request_keeps_its_trace_headers_and_logs_its_trace() {
    let upstream = MisbehavingUpstream::always_answering("heard");
    let (sidecar, _root) = support::misbehaving_upstream::in_front_of(&upstream, |_| ());
    traced(&sidecar.client(), 1).get("/v2/").expect(200);
    assert_eq!(named(&sidecar, "request", 1), [Some(id(1))]);
    let odd = sidecar.client().header("traceparent", "odd");
    odd.header("tracestate", "a=1").get("/v2/").expect(200);
    let heard = upstream.heard();
    let one = parent(1);
    assert_eq!(traces(&heard), [Some(&*one), Some("odd")]);
    assert_eq!(heard[1].header("tracestate"), Some("a=1"));
    assert_eq!(named(&sidecar, "request", 2), [Some(id(1)), None]);
}

#[test]
fn equal_questions_at_once_carry_one_trace_and_a_remembered_answer_is_everyones() {
    let registry = ScriptedRegistry::start(|heard| {
        let is_probe = heard.method == "PATCH";
        is_probe.then(|| Reply::Pieces(vec![allowed()], Duration::from_millis(400)))
    });
    let sidecar = registry.sidecar(upstream_mode);
    let digest = registry.plant("source", b"blob");
    let alice = sidecar.client().basic("alice", "right");
    thread::scope(|scope| {
        for number in 1..=6 {
            let (alice, digest) = (traced(&alice, number), &digest);
            scope.spawn(move || alice.mount("target", digest, "source").expect(201));
        }
    });
    traced(&alice, 7)
        .mount("target", &digest, "source")
        .expect(201);
    let probes = registry.heard("PATCH");
    assert_eq!(probes.len(), 1);
    let asked = probes[0].header("traceparent").unwrap().to_owned();
    assert!((1..=6).any(|number| parent(number) == asked), "{asked}");
    // Each line names its own request's.
    let mut names = named(&sidecar, "request", 8);
    names.sort();
    let wanted: Vec<_> = std::iter::once(None)
        .chain((1..=7).map(|number| Some(id(number))))
        .collect();
    assert_eq!(names, wanted);
}

#[test]
fn a_registry_that_mounts_itself_is_asked_in_the_clients_trace() {
    let upstream = MisbehavingUpstream::start(|heard| {
        let said = match &*heard.method {
            "HEAD" if heard.target.starts_with("/v2/dst/") => "404 Not Found",
            "POST" => "201 Created",
            _ => "200 OK",
        };
        // The blob's first byte is read before it is mounted.
        let body = if heard.method == "GET" { "a" } else { "" };
        Reply::Answer(answer(said, body))
    });
    let sidecar = Sidecar::generic(&upstream.url(), discover_on_head);
    let digest = digest_of(b"a layer");
    let alice = sidecar.client().basic("alice", "right");
    alice.head_blob("src", &digest).expect(200);
    let before = upstream.all().len();
    traced(&alice, 1).head_blob("dst", &digest);
    let heard = upstream.all().split_off(before);
    let ours: Vec<_> = heard
        .into_iter()
        .filter(ReceivedRequest::is_the_sidecars)
        .collect();
    let mount = format!("/v2/dst/blobs/uploads/?from=src&mount={}", encoded(&digest));
    assert!(ours.iter().any(|asked| asked.target == mount), "{ours:#?}");
    let one = parent(1);
    assert!(
        traces(&ours).iter().all(|found| *found == Some(&*one)),
        "{ours:#?}"
    );
}

#[test]
fn a_real_registry_takes_a_question_with_a_trace() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest): (Registry, Sidecar, String) = behind_passwords(upstream_mode);
    let alice = traced(&sidecar.client().basic("alice", "right"), 1);
    let alice = alice.header("tracestate", "a=1");
    alice.mount("target", &digest, "source").expect(201);
    assert_eq!(sidecar.mounts("mounted", "none"), 1);
    assert!(registry.store.link("target", &digest).exists());
    assert_eq!(named(&sidecar, "layer link written", 1), [Some(id(1))]);
}
