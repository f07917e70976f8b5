//! The object store denies, fails, throttles or hangs while crossmount lists it: no push fails.

use super::{listed_by, requests};
use crate::needs;
use crate::support::counting_proxy::{CountingProxy, DENIED, FAILED, Fate, SLOW_DOWN};
use crate::support::seaweedfs;
use std::time::{Duration, Instant};

/// `listed_by` gives a mount a second.
const BUDGET: Duration = Duration::from_secs(1);

#[test]
fn pushes_go_on_whatever_a_list_gives() {
    needs!("docker-registry", "weed");
    let Some(server) = seaweedfs::start() else {
        return;
    };
    for (fate, result) in [
        (DENIED, "denied"),
        (FAILED, "error"),
        (SLOW_DOWN, "throttled"),
        (Fate::Close, "error"),
    ] {
        let bucket = server.bucket();
        let registry = bucket.registry(server.port, |_| ());
        let lists = CountingProxy::start(server.port);
        lists.decide(move |_| fate);
        let sidecar = listed_by(&registry, &bucket, &lists, "none");
        let client = sidecar.client();
        let digest = client.upload("base", b"a layer");
        // A byte is read through the registry instead.
        client.head_blob("app", &digest).expect(200);
        client.upload("app", b"another layer");
        assert!(requests(&sidecar, result) > 0, "{fate:?}");
        assert_eq!(registry.client().pull("app", &digest), b"a layer");
    }
}

#[test]
fn no_request_waits_for_a_list_longer_than_the_time_budget() {
    needs!("docker-registry", "weed");
    let Some(server) = seaweedfs::start() else {
        return;
    };
    let bucket = server.bucket();
    let registry = bucket.registry(server.port, |_| ());
    let lists = CountingProxy::start(server.port);
    lists.decide(|_| Fate::Hang);
    let sidecar = listed_by(&registry, &bucket, &lists, "none");
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    let begun = Instant::now();
    let answer = client.head_blob("app", &digest);
    // The registry's own two responses take a while on a busy machine.
    assert!(begun.elapsed() < BUDGET + Duration::from_secs(10));
    assert_eq!(answer.status, 404);
    client.upload("app", b"a layer");
    assert_eq!(registry.client().pull("app", &digest), b"a layer");
}
