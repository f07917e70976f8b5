//! Whatever becomes of an upload, the HEADs that wait for it end, and one client goes on.

use super::{Case, Got, LAYER, Leader, USERS, push};
use crate::{needs, support};
use std::thread;
use std::time::{Duration, Instant};
use support::{digest_of, raw_http, wait_until};

#[test]
fn all_that_ask_meanwhile_get_the_layer_of_one_upload() {
    needs!("docker-registry", "htpasswd");
    let case = Case::with("30s");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let all = four_push(&case, || leader.ends());
    assert!(all.iter().all(|got| got.status == 200));
    assert_eq!((case.held(), case.ended("linked")), (0, 4));
    let bytes = case
        .sidecar
        .metric("crossmount_mounted_bytes_total", &[("via", "wait")]);
    assert_eq!(
        support::sidecar_metrics::whole(bytes),
        4 * LAYER.len() as u64
    );
    let lines = case.sidecar.log_lines_with("held request ended", 4);
    for line in &lines {
        assert_eq!(line["result"], "linked", "{line}");
        assert_eq!(line["digest"], digest_of(LAYER));
        assert!(line["seconds"].as_f64().unwrap() > 0.0, "{line}");
    }
    // The registry holds them all.
    for user in &USERS[1..] {
        let client = case.registry.client().basic(user, "right");
        assert_eq!(
            client.pull(&format!("{user}/app"), &digest_of(LAYER)),
            LAYER
        );
    }
}

/// Four clients push the layer while it is being uploaded, until `end` is done.
fn four_push(case: &Case, end: impl FnOnce()) -> Vec<Got> {
    four_push_while(case, || (), end)
}

/// The same, and `renew` lets the leader's claim count until all of them wait.
fn four_push_while(case: &Case, renew: impl Fn(), end: impl FnOnce()) -> Vec<Got> {
    thread::scope(|scope| {
        let pushes: Vec<_> = USERS[1..]
            .iter()
            .map(|user| {
                let client = case.client(user);
                scope.spawn(move || push(&client, &format!("{user}/app"), LAYER))
            })
            .collect();
        wait_until("all are held", || {
            renew();
            case.held() == 4
        });
        end();
        pushes
            .into_iter()
            .map(|push| push.join().unwrap())
            .collect()
    })
}

#[track_caller]
fn one_of_four_uploads(case: &Case, all: &[Got]) {
    let mut statuses: Vec<_> = all.iter().map(|got| got.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 404]);
    assert_eq!((case.ended("linked"), case.ended("released")), (3, 1));
    assert_eq!(case.held(), 0);
}

#[test]
fn when_an_upload_breaks_off_one_client_goes_on_for_all() {
    needs!("docker-registry", "htpasswd");
    let case = Case::with("30s");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let all = four_push(&case, || leader.breaks_off());
    one_of_four_uploads(&case, &all);
}

#[test]
fn when_an_upload_falls_silent_one_client_goes_on_for_all() {
    needs!("docker-registry", "htpasswd");
    let case = Case::with("30s");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let mut silent = None;
    let all = four_push(&case, || silent = Some(leader.falls_silent()));
    one_of_four_uploads(&case, &all);
    // It is no error to go on after that.
    let leader = silent.unwrap();
    leader.ends();
}

#[test]
fn when_the_client_that_asked_first_never_uploads_one_goes_on_for_all() {
    needs!("docker-registry", "htpasswd");
    let case = Case::with("30s");
    let leader = case.client("leader");
    let asks = || {
        leader
            .head_blob("leader/app", &digest_of(LAYER))
            .expect(404);
    };
    asks();
    let all = four_push_while(&case, asks, || ());
    one_of_four_uploads(&case, &all);
}

#[test]
fn two_that_wait_for_each_other_are_both_free_again() {
    needs!("docker-registry", "htpasswd");
    let case = Case::with("30s");
    let (one, two) = (case.client("one"), case.client("two"));
    let mut turn = 0;
    // A claim counts for two seconds: a machine that takes longer to ask for both has another turn.
    wait_until("each waits for the other", || {
        turn += 1;
        let [first, second] = ["first", "second"].map(|layer| format!("{layer} {turn}"));
        let digests = [digest_of(first.as_bytes()), digest_of(second.as_bytes())];
        let targets = ["one", "two"].map(|user| format!("{user}/app{turn}"));
        one.head_blob(&targets[0], &digests[0]).expect(404);
        two.head_blob(&targets[1], &digests[1]).expect(404);
        let before = case.ended("released");
        let began = Instant::now();
        thread::scope(|scope| {
            let first = scope.spawn(|| one.head_blob(&targets[0], &digests[1]).status);
            let second = scope.spawn(|| two.head_blob(&targets[1], &digests[0]).status);
            assert_eq!((first.join().unwrap(), second.join().unwrap()), (404, 404));
        });
        assert!(began.elapsed() < Duration::from_secs(20));
        case.ended("released") == before + 2
    });
}

#[test]
fn at_the_bound_the_404_is_passed_on_and_the_same_is_not_waited_for_again() {
    needs!("docker-registry", "htpasswd");
    let case = Case::with("1s");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let got = push(&case.client("one"), "one/app", LAYER);
    assert_eq!(got.status, 404);
    assert!(got.after >= Duration::from_secs(1), "{:?}", got.after);
    assert_eq!(case.ended("timed_out"), 1);
    leader.ends();
    // Neither is the leader's credential waited for, nor is this client held.
    let another = b"another layer";
    let _second = Leader::begins(case.client("leader"), "leader/other", another);
    assert_eq!(push(&case.client("two"), "two/app", another).status, 404);
    let third = b"a third layer";
    let _third = Leader::begins(case.client("three"), "three/app", third);
    assert_eq!(push(&case.client("one"), "one/app", third).status, 404);
    assert_eq!(case.ended("timed_out"), 1);
    assert_eq!(case.ended("released") + case.ended("linked"), 0);
}

#[test]
fn a_client_that_disconnects_gives_its_place_back() {
    needs!("docker-registry", "htpasswd");
    let case = Case::with("30s");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let client = case.client("one");
    let path = format!("/v2/one/app/blobs/{}", digest_of(LAYER));
    let mut connection = client.connect();
    connection
        .write(&client.request("HEAD", &path).bytes(client.port))
        .unwrap();
    case.wait_until_held(1);
    drop(connection);
    case.wait_until_held(0);
    assert_eq!(case.ended("abandoned"), 1);
    leader.ends();
}

#[test]
fn at_the_end_of_the_process_all_are_released_at_once() {
    needs!("docker-registry", "htpasswd");
    let mut case = Case::with("30s");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    case.held_head_ends_with_404(|case| case.sidecar.signal(rustix::process::Signal::TERM));
    leader.ends();
    assert!(case.sidecar.wait_for_exit().success());
}

#[test]
fn when_the_registry_is_about_to_end_all_are_released_at_once() {
    needs!("docker-registry", "htpasswd");
    let mut case = Case::with("30s");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    case.held_head_ends_with_404(|case| {
        // The upload in flight lets the registry go on until the time is up.
        let answer = raw_http::get(case.sidecar.admin, "/drained?after=0s&within=5s");
        assert_eq!(answer.expect(200).text(), "the time is up\n");
    });
    assert_eq!((case.held(), case.ended("released")), (0, 1));
    // Nothing ended, and HEADs are held again.
    thread::scope(|scope| {
        let client = case.client("two");
        let held = scope.spawn(move || push(&client, "two/app", LAYER).status);
        case.wait_until_held(1);
        leader.ends();
        assert_eq!(held.join().unwrap(), 200);
    });
}

#[test]
fn a_slow_upload_lets_one_client_through() {
    needs!("docker-registry", "htpasswd");
    let case = Case::with("30s");
    // Three uploads that take long enough to be compared with.
    let large = vec![7; 20_000];
    thread::scope(|scope| {
        for user in &USERS[1..4] {
            let client = case.client(user);
            let layer = [large.as_slice(), user.as_bytes()].concat();
            scope.spawn(move || {
                let pace = (1000, Duration::from_millis(80));
                let upload = Leader::paced(client, &format!("{user}/large"), &layer, pace);
                thread::sleep(Duration::from_millis(800));
                upload.ends();
            });
        }
    });
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let began = Instant::now();
    assert_eq!(push(&case.client("one"), "one/app", LAYER).status, 404);
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(case.ended("released"), 1);
    leader.ends();
}

#[test]
fn a_layer_that_arrives_as_another_one_holds_nobody_longer() {
    needs!("docker-registry", "htpasswd");
    let case = Case::with("30s");
    let compressed_anew: &[u8] = &[9; 300];
    let client = case.client("leader");
    let leader = Leader::begins_with(client, "leader/app", &digest_of(LAYER), compressed_anew);
    thread::scope(|scope| {
        let one = case.client("one");
        let held = scope.spawn(move || push(&one, "one/app", LAYER));
        case.wait_until_held(1);
        leader.ends();
        assert_eq!(held.join().unwrap().status, 404);
    });
    // What did arrive is found as ever.
    assert_eq!(
        push(&case.client("two"), "two/app", compressed_anew).status,
        200
    );
}
