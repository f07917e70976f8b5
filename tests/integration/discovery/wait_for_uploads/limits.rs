//! What many requests cost, and what becomes of them beyond the limits.

use super::{Case, LAYER, Leader, push};
use crate::{needs, support};
use std::thread;
use std::time::Duration;
use support::digest_of;
use support::process_usage::allow_descriptors;
use support::raw_http::Connection;
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;
use support::wait_until;

/// A sidecar without access control, which is the fastest, in front of a registry with a store.
fn open() -> (Registry, Sidecar) {
    let registry = Registry::start();
    registry
        .client()
        .upload("first/app", b"the first layer of the store");
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = serde_json::json!({"mode": "none"});
        super::waiting(config, "30s");
    });
    sidecar.verify_store();
    (registry, sidecar)
}

fn held(sidecar: &Sidecar) -> u64 {
    whole(sidecar.metric_meanwhile("crossmount_held_requests", &[]))
}

#[track_caller]
fn a_head_waits_for_an_upload(sidecar: &Sidecar) {
    let leader = Leader::begins(sidecar.client(), "leader/app", LAYER);
    thread::scope(|scope| {
        let client = sidecar.client();
        let one = scope.spawn(move || push(&client, "one/app", LAYER).status);
        wait_until("it is held", || held(sidecar) == 1);
        leader.ends();
        assert_eq!(one.join().unwrap(), 200);
    });
}

#[test]
fn without_access_control_a_head_waits_too() {
    needs!("docker-registry");
    let (_registry, sidecar) = open();
    a_head_waits_for_an_upload(&sidecar);
}

#[test]
fn ten_thousand_claims_of_one_caller_change_nothing_for_another() {
    needs!("docker-registry");
    let (_registry, sidecar) = open();
    let client = sidecar.client();
    let before = sidecar.memory("VmRSS");
    thread::scope(|scope| {
        for part in 0..4 {
            let client = &client;
            scope.spawn(move || {
                let mut connection = client.connect();
                for number in 0..2500 {
                    let digest = digest_of(format!("{part} {number}").as_bytes());
                    let path = format!("/v2/mallory/app/blobs/{digest}");
                    let head = client.request("HEAD", &path).bytes(client.port);
                    connection.write(&head).unwrap();
                    assert_eq!(connection.answer("HEAD").unwrap().status, 404);
                }
            });
        }
    });
    let grown = sidecar.memory("VmRSS").saturating_sub(before);
    assert!(grown < 30_000, "{grown} kB");
    a_head_waits_for_an_upload(&sidecar);
}

#[test]
fn of_1025_requests_one_is_not_held_and_none_costs_a_thread() {
    needs!("docker-registry");
    if !allow_descriptors(8192) {
        return;
    }
    let (_registry, sidecar) = open();
    let client = sidecar.client();
    let leader = Leader::begins(sidecar.client(), "leader/app", LAYER);
    let (threads, memory) = (sidecar.threads(), sidecar.memory("VmRSS"));
    let ask = |number: usize| -> Connection {
        let path = format!("/v2/h{number}/app/blobs/{}", digest_of(LAYER));
        let mut connection = client.connect();
        let head = client.request("HEAD", &path).bytes(client.port);
        connection.write(&head).unwrap();
        connection
    };
    let mut all = Vec::new();
    for batch in 0..16 {
        all.extend((0..64).map(|number| ask(batch * 64 + number)));
        let many = u64::try_from(all.len()).unwrap();
        wait_until("they are held", || held(&sidecar) == many);
    }
    let answer = ask(9999).answer("HEAD").unwrap();
    assert_eq!(answer.status, 404);
    assert_eq!(held(&sidecar), 1024);
    // Each that was held for a moment would be among them.
    for result in ["linked", "released", "timed_out", "abandoned"] {
        let ended =
            sidecar.metric_meanwhile("crossmount_held_requests_total", &[("result", result)]);
        assert_eq!(whole(ended), 0, "{result}");
    }
    // Threads for the disk may come, but none for each request.
    assert!(sidecar.threads() < threads + 100, "{}", sidecar.threads());
    let grown = sidecar.memory("VmRSS").saturating_sub(memory);
    assert!(grown < 100_000, "{grown} kB");
    leader.ends();
    let statuses = all.iter_mut().map(|it| it.answer("HEAD").unwrap().status);
    assert_eq!(statuses.filter(|status| *status == 200).count(), 1024);
    wait_until("no place is taken", || held(&sidecar) == 0);
}

#[test]
fn what_a_client_pipelines_behind_a_held_head_waits_and_costs_no_time() {
    needs!("docker-registry", "htpasswd");
    let case = Case::with("30s");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let client = case.client("one");
    let path = format!("/v2/one/app/blobs/{}", digest_of(LAYER));
    let head = client.request("HEAD", &path).bytes(client.port);
    let mut connection = client.connect();
    connection
        .write(&[head.as_slice(), &head].concat())
        .unwrap();
    case.wait_until_held(1);
    let before = case.sidecar.computed();
    thread::sleep(Duration::from_millis(500));
    let computed = case.sidecar.computed().saturating_sub(before);
    assert!(computed < Duration::from_millis(250), "{computed:?}");
    leader.ends();
    assert_eq!(connection.answer("HEAD").unwrap().status, 200);
}
