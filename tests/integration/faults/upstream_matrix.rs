//! Every kind of request meets every kind of failing upstream: the client sees what it would have
//! seen without the sidecar, and nothing is sent twice but a POST that opens an upload session.

use super::observed_response::{ObservedResponse, send_and_observe};
use super::upstream_failures::{Asked, Fault, Sense, faults, requests};
use crate::support;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::scope;
use support::compare::Differences;
use support::discovery::discover_on_head;
use support::figures::{amount, note};
use support::generated_body::assert_memory_is_flat;
use support::misbehaving_upstream::{Reply, Step};
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::Sidecar;

/// By which a request tells the upstream what to do, and the test which request it was.
const FAULT: &str = "X-Fault";
const CASE: &str = "X-Case";

/// What stands between a request and the upstream.
const WAYS: &[fn(&mut Value)] = &[linking, filling, mending];

/// Links are written beside the registry.
fn linking(_: &mut Value) {}

/// A HEAD of a layer is held until it is known whether it becomes true.
fn filling(config: &mut Value) {
    discover_on_head(config);
}

/// The answer to a mount is held until it is known whether it breaks clients.
fn mending(config: &mut Value) {
    config["upstream"] = json!({"url": config["upstream"]["url"], "kind": "generic"});
    for key in ["store", "access", "mount"] {
        config.as_object_mut().unwrap().remove(key);
    }
}

/// An upstream that fails as each request says, and counts how often it heard each case. By target:
/// the upload that is begun where a mount is answered with 404 is another request.
struct Failing {
    scripted: ScriptedRegistry,
    heard: Arc<Mutex<HashMap<String, HashMap<String, usize>>>>,
}

impl Failing {
    fn start() -> Self {
        let heard = Arc::new(Mutex::new(HashMap::<String, HashMap<String, usize>>::new()));
        let (faults, counted) = (faults(), Arc::clone(&heard));
        let scripted = ScriptedRegistry::start(move |heard| {
            let wanted = heard.header(FAULT)?;
            let case = heard.header(CASE)?;
            let mut counted = counted.lock().unwrap();
            let targets = counted.entry(case.to_owned()).or_default();
            *targets.entry(heard.target.clone()).or_default() += 1;
            let fault = faults.iter().find(|fault| fault.name == wanted)?;
            Some(Reply::Steps(fault.steps.clone()))
        });
        Self { scripted, heard }
    }

    fn times(&self, case: &str) -> usize {
        let heard = self.heard.lock().unwrap();
        let targets = heard.get(case).into_iter().flatten();
        targets.map(|(_, times)| *times).max().unwrap_or(0)
    }
}

fn ask(port: u16, asked: &Asked, fault: &Fault, case: &str) -> ObservedResponse {
    let request = asked.request.clone();
    let request = request.header(FAULT, fault.name).header(CASE, case);
    send_and_observe(port, asked.method, &request)
}

/// What is wrong with what is seen through the sidecar, if anything is.
fn judge(
    asked: &Asked,
    fault: &Fault,
    upstream: &Failing,
    through: &ObservedResponse,
) -> Option<String> {
    let is_right = match fault.sense {
        Sense::Rubbish => through.own_failure() == Some(502),
        Sense::Clear => {
            let direct = ask(upstream.scripted.upstream.port, asked, fault, "direct");
            let is_reset = matches!(fault.steps.last(), Some(Step::Reset));
            if !direct.is_shown_as(through, is_reset) {
                return Some(format!("direct:  {direct:?}\n  through: {through:?}"));
            }
            true
        }
    };
    (!is_right).then(|| format!("through: {through:?}"))
}

fn compare(sidecar: &Sidecar, upstream: &Failing, round: usize) -> u64 {
    let (requests, faults) = (requests(), faults());
    let found: Vec<(usize, Vec<String>)> = scope(|scope| {
        let work = requests.iter().map(|asked| {
            let faults = &faults;
            scope.spawn(move || {
                let mut wrong = Vec::new();
                for fault in faults {
                    if round % 2 == 1 {
                        // There is a kept connection that the next GET or HEAD may use.
                        sidecar.client().get("/v2/").expect(200);
                    }
                    let case = format!("{round}: {}, {}", asked.name, fault.name);
                    let through = ask(sidecar.port, asked, fault, &case);
                    if let Some(what) = judge(asked, fault, upstream, &through) {
                        wrong.push(format!("{case}\n  {what}"));
                    }
                    let most = match asked.method {
                        "GET" | "HEAD" => 3,
                        // It opens an upload session at most: a second one harms nothing.
                        "POST" => 2,
                        _ => 1,
                    };
                    let times = upstream.times(&case);
                    if !(1..=most).contains(&times) {
                        wrong.push(format!("{case}\n  heard {times} times"));
                    }
                }
                (faults.len(), wrong)
            })
        });
        let work: Vec<_> = work.collect();
        work.into_iter().map(|each| each.join().unwrap()).collect()
    });
    let mut differences = Differences::default();
    let mut cases = 0;
    for (count, wrong) in found {
        cases += count as u64;
        for what in wrong {
            differences.compare(&what, &"the same", &"something else");
        }
    }
    differences.assert_none();
    cases
}

#[test]
fn whatever_the_upstream_does_the_client_sees_it_and_nothing_is_sent_too_often() {
    let upstream = Failing::start();
    let sidecars: Vec<_> = WAYS
        .iter()
        .map(|way| upstream.scripted.sidecar(way))
        .collect();
    let mut cases = 0;
    for round in 0..amount(WAYS.len(), 30) {
        cases += compare(&sidecars[round % WAYS.len()], &upstream, round);
    }
    for sidecar in sidecars {
        assert!(sidecar.metric("crossmount_requests_in_flight", &[]) < 1.0);
        assert_memory_is_flat(&sidecar);
        sidecar.client().get("/v2/").expect(200);
    }
    note(
        "Upstream",
        "every kind of request meets an upstream that hangs up, resets, cuts its answer short, \
         answers 429, 5xx or rubbish",
        cases,
        "the client saw what it would have seen without crossmount; 502 where that is no answer; \
         PUT, PATCH and DELETE arrived once, and a POST that opens an upload session twice at most",
    );
}
