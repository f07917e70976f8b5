//! What is not waited for, or not any longer, and how much is known at most.

use super::*;
use crate::discovery::uploads::waiting_head::JIB_WAITS;

#[tokio::test]
async fn clients_that_are_not_proved_to_push_leave_room_for_others() {
    let case = Case::waiting_at_most(MINUTE);
    for number in 0..1000 {
        case.claim_tentatively("m", &number.to_string(), "layer");
    }
    case.begin("m", "999", "session");
    assert_eq!(case.0.table.lock().layer_of("session"), None);
    case.claim("a", "alice", "layer");
    let mut head = case.head("b", "bob", "layer");
    assert_eq!(now(wait(&mut head)), None);
}

#[tokio::test]
async fn at_the_bound_the_credential_and_the_target_are_left_alone() {
    let case = Case::waiting_at_most(Duration::from_millis(400));
    case.claim("a", "alice", "layer");
    case.begin("a", "alice", "session");
    let _request = case.request("session");
    let mut head = case.head("b", "bob", "layer");
    assert_eq!(wait(&mut head).await, Waited::TimedOut);
    drop(head);
    let another = case.request("session");
    another.add(1);
    // Not for the same credential, in whatever repository.
    case.claim("x", "alice", "another");
    let mut head = case.head("c", "carol", "another");
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
    drop(head);
    // Nor for another token of that client.
    case.claim("a", "alice's next token", "fourth");
    let mut head = case.head("e", "eve", "fourth");
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
    drop(head);
    // And the one that waited is not held for others.
    case.claim("y", "dave", "third");
    let mut head = case.head("b", "bob", "third");
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
}

#[tokio::test]
async fn what_the_highest_rate_cannot_bring_in_time_is_not_waited_for() {
    let case = Case::waiting_at_most(Duration::from_secs(10));
    case.0
        .table
        .lock()
        .record_rate(1000, Duration::from_secs(1));
    case.claim("a", "alice", "large");
    case.begin("a", "alice", "session");
    let _large = case.0.request("session", None, Some(20_000)).unwrap();
    let mut head = case.head("b", "bob", "large");
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
    case.claim("a", "alice", "small");
    case.begin("a", "alice", "another");
    let _small = case.0.request("another", None, Some(5000)).unwrap();
    let mut head = case.head("c", "carol", "small");
    assert_eq!(now(wait(&mut head)), None);
}

#[tokio::test]
async fn jib_waits_for_fifteen_seconds_at_most() {
    let case = Case::waiting_at_most(MINUTE);
    let until = |agent| {
        let head = case
            .0
            .head(&blob("a", "layer"), &credentials("alice"), true, agent);
        head.until - head.since
    };
    assert_eq!(until("jib/3.4.0"), JIB_WAITS);
    assert_eq!(until("skopeo/1.9"), MINUTE);
    let short = Case::waiting_at_most(Duration::from_secs(1));
    let head = short
        .0
        .head(&blob("a", "layer"), &credentials("alice"), true, "jib/3");
    assert_eq!(head.until - head.since, Duration::from_secs(1));
}

#[tokio::test]
async fn beyond_the_places_and_the_claims_a_client_goes_on_at_once() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim("a", "alice", "layer");
    case.begin("a", "alice", "session");
    let mut all = Vec::new();
    for number in 0..MOST_HELD {
        let mut head = case.head("b", &number.to_string(), "layer");
        assert_eq!(now(wait(&mut head)), None);
        all.push(head);
    }
    let mut head = case.head("b", "one more", "layer");
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
    all.pop();
    let mut head = case.head("c", "another", "layer");
    assert_eq!(now(wait(&mut head)), None);
    for number in 0..10_000 {
        case.claim("m", "mallory", &number.to_string());
    }
    assert!(case.0.table.lock().size() <= 300);
}

#[tokio::test]
async fn one_layer_has_few_uploads_that_a_head_asks_about() {
    let case = Case::waiting_at_most(MINUTE);
    for number in 0..1000 {
        let mut head = case.head(&format!("m/{number}"), "mallory", "layer");
        for repository in head.undecided() {
            head.decide(repository, false);
        }
        assert_eq!(now(head.wait()), Some(Waited::Released));
    }
    let head = case.head("b", "bob", "layer");
    assert_eq!(head.undecided().len(), 16);
}
