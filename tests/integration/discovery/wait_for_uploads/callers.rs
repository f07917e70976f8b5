//! Who may not pull where an upload goes is treated as if there were none.

use super::{Case, LAYER, Leader, push, waiting};
use crate::{needs, support};
use serde_json::json;
use std::thread;
use std::time::Duration;
use support::registry_client::Client;
use support::sidecar::Sidecar;
use support::token_issuer::TokenIssuer;
use support::{digest_of, wait_until};

const ALL: &[&str] = &["pull", "push"];
const PULL: &[&str] = &["pull"];

#[test]
fn with_tokens_only_a_caller_who_may_pull_there_waits() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let registry = tokens.registry();
    let sidecar = Sidecar::with(&registry, |config| {
        tokens.verify_here(config);
        waiting(config, "30s");
        config["discovery"]["shared_sources"] = json!(["base/*"]);
    });
    let owner = tokens.token("owner", &[("proof/of-store", ALL)]);
    sidecar.verify_store_as(&registry.client().bearer(&owner));
    let client = |access: &[(&str, &[&str])]| -> Client {
        sidecar.client().bearer(&tokens.token("ci", access))
    };
    for (place, access, waits) in [
        ("secret/app", vec![("target/app", ALL)], false),
        (
            "secret/app",
            vec![("target/app", ALL), ("secret/app", PULL)],
            true,
        ),
        (
            "secret/app",
            vec![("target/app", ALL), ("secret/app", &["push"])],
            false,
        ),
        ("base/os", vec![("target/app", ALL)], true),
    ] {
        let layer = format!("{place} {access:?}");
        let leader = client(&[(place, ALL)]);
        let leader = Leader::begins(leader, place, layer.as_bytes());
        let client = client(&access);
        thread::scope(|scope| {
            let layer = layer.as_bytes();
            let asks =
                scope.spawn(move || client.head_blob("target/app", &digest_of(layer)).status);
            let held = || {
                support::sidecar_metrics::whole(
                    sidecar.metric_meanwhile("crossmount_held_requests", &[]),
                )
            };
            if waits {
                wait_until("it is held", || held() == 1);
                leader.ends();
                assert_eq!(asks.join().unwrap(), 200, "{place}");
            } else {
                assert_eq!(asks.join().unwrap(), 404, "{place}");
                assert_eq!(held(), 0);
                leader.breaks_off();
            }
        });
    }
    let ended = sidecar.metric_meanwhile("crossmount_held_requests_total", &[("result", "linked")]);
    assert_eq!(support::sidecar_metrics::whole(ended), 2);
}

#[test]
fn a_caller_who_may_not_push_to_the_target_neither_waits_nor_is_waited_for() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let registry = tokens.registry();
    let sidecar = Sidecar::with(&registry, |config| {
        tokens.verify_here(config);
        waiting(config, "30s");
    });
    let owner = tokens.token("owner", &[("proof/of-store", ALL)]);
    sidecar.verify_store_as(&registry.client().bearer(&owner));
    let client = |access: &[(&str, &[&str])]| -> Client {
        sidecar.client().bearer(&tokens.token("ci", access))
    };
    let digest = digest_of(LAYER);
    client(&[("one/app", PULL)])
        .head_blob("one/app", &digest)
        .expect(404);
    let both = client(&[("two/app", ALL), ("one/app", PULL)]);
    let leader = Leader::begins(both, "two/app", LAYER);
    let reader = client(&[("one/app", PULL), ("two/app", PULL)]);
    reader.head_blob("one/app", &digest).expect(404);
    leader.breaks_off();
    for result in ["linked", "released", "timed_out", "abandoned"] {
        let ended =
            sidecar.metric_meanwhile("crossmount_held_requests_total", &[("result", result)]);
        assert_eq!(support::sidecar_metrics::whole(ended), 0, "{result}");
    }
}

#[test]
fn a_dry_run_holds_no_request() {
    needs!("docker-registry", "htpasswd");
    let case = Case::configured("30s", |config| config["mount"]["dry_run"] = json!(true));
    let _leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let got = push(&case.client("one"), "one/app", LAYER);
    assert_eq!((got.status, case.held()), (404, 0));
    assert!(got.after < Duration::from_secs(10));
}
