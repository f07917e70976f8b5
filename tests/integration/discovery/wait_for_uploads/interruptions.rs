//! The registry or a proxy fails while HEADs are held.

use super::{Case, LAYER, Leader, push};
use crate::{needs, support};
use std::thread;
use std::time::Duration;
use support::nginx::Nginx;
use support::registry_client::Client;
use support::{digest_of, wait_until};

#[test]
fn when_the_registry_goes_away_the_404_is_passed_on() {
    needs!("docker-registry", "htpasswd");
    let mut case = Case::with("30s");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let took = case.held_head_ends_with_404(|case| case.registry.kill());
    assert!(took < Duration::from_secs(10));
    case.registry.resume();
    leader.breaks_off();
    // The one that was released goes on, and soon it is as if nothing had been.
    case.client("one").upload("one/app", LAYER);
    let (client, mut number) = (case.client("two"), 0);
    wait_until("the layer is linked again", || {
        number += 1;
        push(&client, &format!("two/app{number}"), LAYER).status == 200
    });
    assert_eq!((case.held(), case.ended("released")), (0, 1));
}

/// Not only when two seconds have shown that the upload does not go on.
#[test]
fn when_the_registry_breaks_an_upload_off_one_client_goes_on_at_once() {
    needs!("docker-registry", "htpasswd");
    // A busy machine may be slow now and then, but not mostly.
    let took = [(); 5].map(|()| {
        let mut case = Case::with("30s");
        let _leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
        case.held_head_ends_with_404(|case| case.registry.kill())
    });
    let at_once = took.iter().filter(|took| **took < Duration::from_secs(1));
    assert!(at_once.count() >= 3, "{took:?}");
}

#[test]
fn when_the_registry_turns_read_only_no_link_is_written() {
    needs!("docker-registry", "htpasswd");
    let mut case = Case::with("30s");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    case.held_head_ends_with_404(|case| {
        case.registry.kill();
        case.registry.read_only(true);
        case.registry.resume();
    });
    leader.breaks_off();
    let target = case.registry.store.link("one/app", &digest_of(LAYER));
    assert!(!target.exists());
    assert_eq!(case.held(), 0);
}

#[test]
fn behind_a_proxy_that_cuts_earlier_a_place_comes_back() {
    needs!("docker-registry", "htpasswd", "nginx");
    let case = Case::with("20s");
    // The default of Envoy is 15 s, the advised bound 10 s.
    let behind = |cut: &str| {
        let nginx = Nginx::before(case.sidecar.port, &format!("proxy_read_timeout {cut};"));
        let client = Client::new(nginx.port).basic("one", "right");
        (nginx, client)
    };
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let (_early, client) = behind("1s");
    client.head_blob("one/app", &digest_of(LAYER)).expect(504);
    case.wait_until_held(0);
    assert_eq!(case.ended("abandoned"), 1);
    // One that cuts later than the bound sees nothing of it.
    let (_late, client) = behind("60s");
    thread::scope(|scope| {
        let held = scope.spawn(|| client.head_blob("one/other", &digest_of(LAYER)).status);
        case.wait_until_held(1);
        leader.ends();
        assert_eq!(held.join().unwrap(), 200);
    });
}
