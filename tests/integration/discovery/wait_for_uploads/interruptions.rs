//! The registry or a proxy fails while HEADs are held.

use super::{Case, LAYER, Leader, push};
use crate::{needs, support};
use std::thread;
use std::time::{Duration, Instant};
use support::digest_of;
use support::nginx::Nginx;
use support::registry_client::Client;

#[test]
fn when_the_registry_goes_away_the_404_is_passed_on() {
    needs!("docker-registry", "htpasswd");
    let mut case = Case::with("30s");
    let mut leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    leader.sends(&LAYER[..10]);
    let client = case.client("one");
    thread::scope(|scope| {
        let held = scope.spawn(|| client.head_blob("one/app", &digest_of(LAYER)).status);
        case.wait_until_held(1);
        let began = Instant::now();
        case.registry.kill();
        assert_eq!(held.join().unwrap(), 404);
        assert!(began.elapsed() < Duration::from_secs(5));
    });
    case.registry.resume();
    leader.breaks_off();
    // It goes on as if nothing had been.
    assert_eq!(push(&case.client("two"), "two/app", LAYER).status, 404);
    assert_eq!(push(&case.client("three"), "three/app", LAYER).status, 200);
    assert_eq!((case.held(), case.ended("released")), (0, 1));
}

#[test]
fn when_the_registry_turns_read_only_no_link_is_written() {
    needs!("docker-registry", "htpasswd");
    let mut case = Case::with("30s");
    let mut leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    leader.sends(&LAYER[..10]);
    let client = case.client("one");
    thread::scope(|scope| {
        let held = scope.spawn(|| client.head_blob("one/app", &digest_of(LAYER)).status);
        case.wait_until_held(1);
        case.registry.kill();
        case.registry.read_only(true);
        case.registry.resume();
        assert_eq!(held.join().unwrap(), 404);
    });
    leader.breaks_off();
    let target = case.registry.store.link("one/app", &digest_of(LAYER));
    assert!(!target.exists());
    assert_eq!(case.held(), 0);
}

#[test]
fn behind_a_proxy_that_cuts_earlier_a_place_comes_back() {
    needs!("docker-registry", "htpasswd", "nginx");
    let case = Case::with("3s");
    // The default of Envoy is 15 s, the advised bound 10 s. Here both are shorter.
    let behind = |cut: &str| {
        let nginx = Nginx::before(case.sidecar.port, &format!("proxy_read_timeout {cut};"));
        let client = Client::new(nginx.port).basic("one", "right");
        (nginx, client)
    };
    let mut leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let sends = |leader: &mut Leader, from: usize| {
        for byte in &LAYER[from..from + 6] {
            leader.sends(&[*byte]);
            thread::sleep(Duration::from_millis(250));
        }
    };
    let (_early, client) = behind("1s");
    thread::scope(|scope| {
        let held = scope.spawn(|| client.head_blob("one/app", &digest_of(LAYER)).status);
        sends(&mut leader, 0);
        assert_eq!(held.join().unwrap(), 504);
    });
    case.wait_until_held(0);
    assert_eq!(case.ended("abandoned"), 1);
    // One that cuts later than the bound sees nothing of it.
    let (_late, client) = behind("10s");
    thread::scope(|scope| {
        let held = scope.spawn(|| client.head_blob("one/other", &digest_of(LAYER)).status);
        case.wait_until_held(1);
        leader.ends(&LAYER[6..], LAYER);
        assert_eq!(held.join().unwrap(), 200);
    });
}
