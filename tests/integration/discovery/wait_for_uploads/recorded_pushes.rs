//! Pushes that real clients made get the same answers whether HEADs may wait or not.

use super::waiting;
use crate::{needs, support};
use support::raw_http::Answer;
use support::recorded_push::{self, RecordedPush};
use support::registry::Registry;
use support::registry_client::Client;
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;
use support::token_issuer::TokenIssuer;

const ALL: &[&str] = &["pull", "push"];

#[test]
fn answers_to_recorded_pushes_are_the_same_with_waiting_and_without() {
    needs!("docker-registry", "openssl");
    let issuer = TokenIssuer::new();
    let pushes = recorded_push::all();
    assert_eq!(pushes.len(), 20);
    for push in &pushes {
        let [without, with] = ["0s", "10s"].map(|bound| replayed(push, &issuer, bound));
        for (number, step) in push.steps.iter().enumerate() {
            let [without, with] = [&without, &with].map(|answers| seen(&answers[number]));
            let what = format!("{}: {} {}", push.name, step.method, step.target);
            assert_eq!(with, without, "{what}");
            // Those that the client got, unless crossmount found the layer in another repository, or
            // let the client upload what it may not mount.
            let is_the_same = match (step.status, with.0) {
                (404, 200) => push.another_repository_holds(step),
                (401, 202) => step.target.contains("mount="),
                (recorded, status) => recorded == status,
            };
            assert!(is_the_same, "{what}: {with:?}");
        }
    }
}

/// The answers to a push through a sidecar that lets HEADs wait for so long, of which none waits.
fn replayed(push: &RecordedPush, issuer: &TokenIssuer, bound: &str) -> Vec<Answer> {
    let registry = Registry::with(|config| {
        if push.has_tokens() {
            issuer.configure(config);
        }
    });
    let owner = |client: Client, repository: &str| {
        if push.has_tokens() {
            client.bearer(&issuer.token("owner", &[(repository, ALL)]))
        } else {
            client
        }
    };
    // The first scan finds a store: the next one would come half a minute later.
    owner(registry.client(), "first/app").upload("first/app", b"the first layer of the store");
    push.prepare(|repository| owner(registry.client(), repository));
    let sidecar = Sidecar::with(&registry, |config| {
        if push.has_tokens() {
            issuer.verify_here(config);
        }
        waiting(config, bound);
    });
    sidecar.verify_store_as(&owner(registry.client(), "proof/of-store"));
    sidecar.wait_for_scan();
    let answers = push.replay(sidecar.port, issuer);
    let held = sidecar.metric("crossmount_held_requests_total", &[]);
    assert_eq!(whole(held), 0, "{}", push.name);
    answers
}

/// What a client sees of an answer, but for what is another one each time: the date, the request's
/// number, and the upload session.
fn seen(answer: &Answer) -> (u16, Vec<String>, String) {
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !["Date", "Docker-Upload-Uuid", "X-Request-Id"].contains(&&**name))
        .map(|(name, value)| match &**name {
            "Location" => {
                let path = answer.location_path();
                let end = path.find("/uploads/").unwrap_or(path.len());
                format!("{name}: {}", &path[..end])
            }
            _ => format!("{name}: {value}"),
        })
        .collect();
    (answer.status, headers, answer.text())
}
