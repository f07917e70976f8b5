//! The scan of the registry's bucket.

use super::{config, links, listed, requests, sidecar};
use crate::needs;
use crate::support::counting_proxy::{Call, CountingProxy, DENIED, FAILED, Fate, Kind, SLOW_DOWN};
use crate::support::seaweedfs::{self, LISTER};
use crate::support::sidecar::Sidecar;
use crate::support::{digest_of, raw_http, wait_until};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The links of so many layers, in thirty repositories.
fn plant(bucket: &seaweedfs::Bucket, count: usize) {
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                for number in (part..count).step_by(4) {
                    let repository = format!("team-{}/image", number % 30);
                    bucket.plant_link("", &repository, &digest_of(&number.to_le_bytes()));
                }
            });
        }
    });
}

fn is_first_page(call: &Call) -> bool {
    !call.target.contains("continuation-token")
}

#[test]
fn all_links_are_found_over_several_pages_by_credentials_that_may_only_list() {
    let Some((_, bucket, proxy)) = listed() else {
        return;
    };
    plant(&bucket, 1500);
    // As over a network.
    proxy.decide(|call| match call.kind {
        Kind::List => Fate::Delay(Duration::from_millis(30)),
        _ => DENIED,
    });
    let sidecar = sidecar(&bucket, &proxy, |_| ());
    sidecar.wait_for_scan();
    assert_eq!(links(&sidecar), 1500);
    let kinds = [("link", 1500.0), ("repository", 30.0), ("unreadable", 0.0)];
    for (kind, count) in kinds {
        let found = sidecar.metric("crossmount_store_scan_items_total", &[("kind", kind)]);
        assert!((found - count).abs() < 0.5, "{kind}: {found}");
    }
    proxy.assert_only_lists();
    assert_eq!(proxy.count(Kind::List), 2);
    assert_eq!(requests(&sidecar, "ok"), 2);
    assert!(!sidecar.log().contains(LISTER.secret_key));
}

#[test]
fn a_scan_goes_on_at_the_page_that_failed() {
    let Some((_, bucket, proxy)) = listed() else {
        return;
    };
    plant(&bucket, 1500);
    let failures = AtomicUsize::new(0);
    proxy.decide(move |call| {
        if is_first_page(call) {
            return Fate::Pass;
        }
        match failures.fetch_add(1, Ordering::Relaxed) {
            0 => SLOW_DOWN,
            1 => Fate::Close,
            _ => Fate::Pass,
        }
    });
    let sidecar = sidecar(&bucket, &proxy, |_| ());
    wait_until("the store wants fewer requests", || {
        requests(&sidecar, "throttled") == 1
    });
    assert_eq!(links(&sidecar), 1000);
    sidecar.wait_for_scan();
    assert_eq!(links(&sidecar), 1500);
    let calls = proxy.calls();
    let first = calls.iter().filter(|call| is_first_page(call)).count();
    assert_eq!((first, calls.len()), (1, 4), "{calls:?}");
    sidecar.wait_for_log("wants fewer requests (SlowDown)");
}

#[test]
fn a_scan_makes_at_most_four_calls_in_a_second() {
    let Some((_, bucket, proxy)) = listed() else {
        return;
    };
    // A list without an end.
    proxy.decide(|_| {
        Fate::Body(
            "<ListBucketResult><NextContinuationToken>x</NextContinuationToken></ListBucketResult>",
        )
    });
    let _sidecar = sidecar(&bucket, &proxy, |_| ());
    wait_until("the scan begins", || !proxy.calls().is_empty());
    let (began, before) = (Instant::now(), proxy.calls().len());
    wait_until("the scan goes on", || proxy.calls().len() >= before + 5);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_scan_repeats_after_its_interval() {
    let Some((_, bucket, proxy)) = listed() else {
        return;
    };
    bucket.plant("", &["a"], b"one");
    let settings = bucket.settings(proxy.port, LISTER);
    let mut config = config("http://127.0.0.1:1", &json!({"s3": settings}));
    config["discovery"]["scan_interval"] = json!("100ms");
    let sidecar = Sidecar::from(&config);
    sidecar.wait_for_scan();
    bucket.plant("", &["b"], b"two");
    wait_until("the next scan finds the new link", || links(&sidecar) == 2);
}

#[test]
fn the_root_directory_means_what_it_means_to_the_registry() {
    needs!("docker-registry");
    let Some((server, bucket, proxy)) = listed() else {
        return;
    };
    for root in ["a/b/", "/c", "/", "//d/e//"] {
        let registry = bucket.registry(server.port, |config| {
            config["storage"]["s3"]["rootdirectory"] = json!(root);
        });
        registry.client().upload("team/image", root.as_bytes());
        let sidecar = sidecar(&bucket, &proxy, |s3| s3["rootdirectory"] = json!(root));
        sidecar.wait_for_scan();
        // Those of other root directories are of other registries.
        assert_eq!(links(&sidecar), 1, "{root}");
    }
    let sidecar = sidecar(&bucket, &proxy, |_| ());
    sidecar.wait_for_scan();
    assert_eq!(links(&sidecar), 1);
    proxy.assert_only_lists();
}

#[test]
fn an_object_store_that_does_not_serve_keeps_no_request_waiting() {
    let Some((_, bucket, proxy)) = listed() else {
        return;
    };
    bucket.plant("", &["a"], b"one");
    for (fate, result) in [
        (DENIED, "denied"),
        (FAILED, "error"),
        (SLOW_DOWN, "throttled"),
        (Fate::Hang, "timeout"),
    ] {
        proxy.decide(move |_| fate);
        proxy.forget();
        let started = Instant::now();
        let sidecar = sidecar(&bucket, &proxy, |_| ());
        wait_until("the bucket is listed", || !proxy.calls().is_empty());
        if fate != Fate::Hang {
            wait_until("the failure is counted", || requests(&sidecar, result) > 0);
            wait_until("the log says so", || {
                sidecar.log().contains("store scan interrupted")
            });
        }
        let began = Instant::now();
        raw_http::get(sidecar.admin, "/metrics").expect(200);
        raw_http::get(sidecar.port, "/v2/").expect(503);
        // A list may take thirty seconds.
        assert!(began.elapsed() < Duration::from_secs(10), "{result}");
        let calls = proxy.calls().len();
        // One call, and after a second the next, then after two.
        let most = 2 + started.elapsed().as_secs().checked_ilog2().unwrap_or(0);
        assert!(calls <= most as usize + 1, "{result}: {calls}");
    }
    proxy.decide(|_| Fate::Pass);
}

#[test]
fn another_registrys_bucket_is_not_listed() {
    let Some((server, ..)) = listed() else {
        return;
    };
    let closed = server.closed_bucket();
    closed.plant("", &["a"], b"one");
    let proxy = CountingProxy::start(server.port);
    let sidecar = sidecar(&closed, &proxy, |_| ());
    wait_until("the list is denied", || requests(&sidecar, "denied") > 0);
    assert_eq!(links(&sidecar), 0);
}
