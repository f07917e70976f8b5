//! Request smuggling: what the upstream is made to see is what the sidecar itself understood.

use crate::support;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use support::figures::amount;
use support::raw_responses::{SendMode, conclude, judge_each};
use support::sidecar::{self, Sidecar};
use support::smuggling::{marker, variants};
use support::strict_upstream::StrictUpstream;

/// Requests by the number of the variant that they belong to.
type ByNumber = BTreeMap<usize, Vec<(String, String)>>;

#[test]
fn an_upstream_sees_exactly_the_requests_that_the_sidecar_understood() {
    for manner in amount(
        &[SendMode::Burst, SendMode::InTurn][..],
        &[
            SendMode::Burst,
            SendMode::InTurn,
            SendMode::Pieces(7),
            SendMode::Pieces(1),
        ],
    ) {
        look(*manner);
    }
}

fn look(manner: SendMode) {
    let recorder = StrictUpstream::start();
    let root = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::from(&sidecar::config(&recorder.url(), root.path()));
    let all = variants();
    let wrong = judge_each(&all, |variant| {
        // Nobody knows whether another variant is answered at all; the plain ones are, and are
        // worth waiting for on a busy machine.
        let patience = if variant.is_plain() { 10_000 } else { 150 };
        let answers = variant.send(sidecar.port, manner, Duration::from_millis(patience));
        let refusals = answers.iter().filter(|about| about.status != 200).count();
        let ends_with_it = answers.last().is_none_or(|about| about.status != 200);
        if refusals > 1 || (refusals == 1 && !ends_with_it) {
            return Err(format!("it goes on after a refusal: {answers:?}"));
        }
        Ok(())
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Every request has its line, which comes after its answer.
    sidecar.metrics();
    let seen = recorder.seen();
    let of = |is_whole: bool| {
        by_number(
            seen.iter()
                .filter(|seen| seen.is_whole == is_whole)
                .map(|seen| {
                    let path = seen.target.split('?').next().unwrap();
                    let path = path.strip_prefix("http://host.test").unwrap_or(path);
                    (seen.method.clone(), path.to_owned())
                }),
        )
    };
    let (whole, broken) = (of(true), of(false));
    support::wait_until("the log is written", || {
        has_all(&understood(&sidecar, |_| true), &whole)
    });
    let answered = understood(&sidecar, |status| status == Some(200));
    let refused = understood(&sidecar, |status| {
        status.is_some_and(|status| status != 200)
    });
    // Their clients were out of patience, as on a busy machine.
    let left = understood(&sidecar, |status| status.is_none());
    let mut wrong = recorder.faults();
    for variant in &all {
        let of = |requests: &ByNumber| requests.get(&variant.number).cloned().unwrap_or_default();
        let [whole, broken, answered, refused, left] =
            [&whole, &broken, &answered, &refused, &left].map(of);
        let is_left = |request| left.contains(request);
        let is_exact = answered.iter().all(|it| whole.contains(it))
            && whole.iter().all(|it| answered.contains(it) || is_left(it))
            && (answered.len()..=answered.len() + left.len()).contains(&whole.len());
        if !is_exact {
            wrong.push(format!(
                "seen {whole:?}, answered {answered:?}: {}",
                variant.name
            ));
        }
        if !broken.iter().all(|it| refused.contains(it) || is_left(it)) {
            wrong.push(format!(
                "broken {broken:?}, refused {refused:?}: {}",
                variant.name
            ));
        }
        let has = |kind| {
            let marker = marker(kind, variant.number);
            whole.iter().any(|(_, target)| target.contains(&marker))
        };
        // What comes before its time is read by nobody.
        let has_all = has("first") && (has("last") || manner != SendMode::InTurn);
        if variant.is_plain() && (has("hidden") || !has_all) {
            wrong.push(format!("plain, and seen {whole:?}: {}", variant.name));
        }
    }
    conclude(
        &format!("request smuggling, {manner:?}"),
        &all,
        &wrong,
        "the upstream saw the requests that the sidecar understood, and no other",
    );
}

/// Whether there are as many requests for each number.
fn has_all(all: &ByNumber, some: &ByNumber) -> bool {
    some.iter().all(|(number, requests)| {
        all.get(number)
            .is_some_and(|all| all.len() >= requests.len())
    })
}

/// The requests that the sidecar says it had, by what came of them.
fn understood(sidecar: &Sidecar, came_of_it: impl Fn(Option<u64>) -> bool) -> ByNumber {
    let log = sidecar.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let is_one = |line: &Value| line["message"] == "request" && came_of_it(line["status"].as_u64());
    by_number(lines.filter(is_one).map(|line| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        (text("method"), text("path"))
    }))
}

fn by_number(requests: impl Iterator<Item = (String, String)>) -> ByNumber {
    let mut all = ByNumber::new();
    for (method, target) in requests {
        let start = ["first-", "hidden-", "last-"]
            .iter()
            .find_map(|kind| Some(target.find(kind)? + kind.len()));
        let number = start.and_then(|start| {
            let end = target[start..].find('x')?;
            target[start..start + end].parse().ok()
        });
        if let Some(number) = number {
            all.entry(number).or_default().push((method, target));
        }
    }
    all
}
