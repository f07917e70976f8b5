//! Upload sessions that are taken for those of another layer.

use super::*;
use crate::discovery::uploads::table::{MOST_CLAIMS, MOST_LEADERS_OF_LAYER};

#[tokio::test]
async fn the_oldest_claim_becomes_the_upload_unless_the_layer_is_named() {
    let case = Case::waiting_at_most(MINUTE);
    for layer in ["one", "two", "three"] {
        case.claim("a", "alice", layer);
    }
    let digest = Digest::of(b"three");
    let alice = credentials("alice");
    case.0.begin(&name("a"), &alice, "named", Some(&digest));
    case.begin("a", "alice", "oldest");
    let layer_of = |session: &str| {
        let table = case.0.table.lock();
        table.layer_of(session)
    };
    assert_eq!(layer_of("named"), Some(digest.bytes()));
    assert_eq!(layer_of("oldest"), Some(Digest::of(b"one").bytes()));
    // Neither another user's nor another repository's claim.
    case.begin("a", "bob", "bobs");
    case.begin("b", "alice", "remote");
    assert_eq!((layer_of("bobs"), layer_of("remote")), (None, None));
}

#[tokio::test]
async fn a_layer_that_arrives_as_another_one_is_not_waited_for() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim("a", "alice", "claimed");
    case.begin("a", "alice", "session");
    let request = case.ends_as("session", "compressed anew");
    let mut anew = case.head("b", "bob", "compressed anew");
    assert_eq!(now(wait(&mut anew)), None);
    assert!(request.is_some());
    // The client may still send the layer for which it asked.
    let mut head = case.head("b", "bob", "claimed");
    assert_eq!(now(wait(&mut head)), None);
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
    drop(head);
    // A later push into the same repository is not waited for, and one by another client is.
    std::thread::sleep(Duration::from_millis(2100));
    case.claim("a", "another token", "claimed");
    let mut later = case.head("c", "carol", "claimed");
    assert_eq!(now(wait(&mut later)), Some(Waited::Released));
    let mut other = case.head("d", "dave", "claimed");
    assert_eq!(now(wait(&mut other)), None);
}

#[tokio::test]
async fn a_claim_that_is_mistaken_again_and_again_is_not_waited_for() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim("a", "alice", "claimed");
    let mut head = case.head("b", "bob", "claimed");
    let mut requests = Vec::new();
    for number in 0..3 {
        assert_eq!(now(wait(&mut head)), None, "{number}");
        let session = format!("session {number}");
        case.begin("a", "alice", &session);
        requests.push(case.ends_as(&session, &format!("layer {number}")));
    }
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
}

/// As Docker's classic store pushes a build: it asks for the layers of the base, and uploads its
/// own layer too, all at once.
#[tokio::test]
async fn a_layer_for_which_the_client_did_not_ask_takes_the_session_of_none() {
    let base = ["one", "two", "three"];
    // The own layer's session comes first, and its end at each moment.
    for moment in 0..=base.len() {
        let case = Case::waiting_at_most(MINUTE);
        for layer in base {
            case.claim("a", "alice", layer);
        }
        case.begin("a", "alice", "own");
        let mut own = None;
        let mut requests = Vec::new();
        for (at, layer) in base.into_iter().enumerate() {
            if at == moment {
                own = case.ends_as("own", "built here");
            }
            case.begin("a", "alice", &format!("of {layer}"));
        }
        let own = own.or_else(|| case.ends_as("own", "built here"));
        let mut heads = base.map(|layer| case.head("b", "bob", layer));
        for (head, layer) in heads.iter_mut().zip(base) {
            assert_eq!(now(wait(head)), None, "{layer} at {moment}");
        }
        for (head, layer) in heads.iter_mut().zip(base) {
            let request = case.ends_as(&format!("of {layer}"), layer);
            let mut request = request.expect("the session is known");
            assert_eq!(now(wait(head)), None, "{layer} at {moment}");
            request.record_success();
            requests.push(request);
            case.0.uploaded(&blob("a", layer));
            assert_eq!(now(wait(head)), Some(arrived("a")), "{layer} at {moment}");
        }
        drop(own);
    }
}

#[tokio::test]
async fn layers_that_are_uploaded_at_once_in_another_order_change_places() {
    let case = Case::waiting_at_most(MINUTE);
    for layer in ["one", "two", "three"] {
        case.claim("a", "alice", layer);
    }
    // The session of "two" is opened first, then that of "one".
    case.begin("a", "alice", "of two");
    case.begin("a", "alice", "of one");
    let uploads = ["of two", "of one"].map(|session| case.request(session));
    let mut head = case.head("b", "bob", "one");
    let waiting = async {
        tokio::task::yield_now().await;
        let two = Digest::of(b"two");
        let end = case.0.request("of two", Some(&two), None);
        case.0.arrived(&blob("a", "two"));
        assert!(end.is_some());
        let layer = case.0.table.lock().layer_of("of one");
        assert_eq!(layer, Some(Digest::of(b"one").bytes()));
        case.0.arrived(&blob("a", "one"));
    };
    let (waited, ()) = tokio::join!(wait(&mut head), waiting);
    assert_eq!(waited, arrived("a"));
    // One that is claimed only stays claimed.
    case.claim("a", "alice", "four");
    case.begin("a", "alice", "of four");
    let four = Digest::of(b"four");
    assert!(case.0.request("of four", Some(&four), None).is_some());
    let mut head = case.head("c", "carol", "three");
    assert_eq!(now(wait(&mut head)), None);
    drop(uploads);
}

/// A client that takes one session for another gets no more room than one that claims.
#[tokio::test]
async fn a_session_of_another_layer_counts_only_while_there_is_room() {
    let case = Case::waiting_at_most(MINUTE);
    for number in 0..MOST_LEADERS_OF_LAYER {
        let mut head = case.head(&format!("m/{number}"), "mallory", "full");
        for repository in head.undecided() {
            head.decide(repository, false);
        }
        assert_eq!(now(head.wait()), Some(Waited::Released));
    }
    case.claim("a", "alice", "claimed");
    case.begin("a", "alice", "session");
    assert!(case.ends_as("session", "full").is_none());
    let head = case.head("b", "bob", "full");
    assert_eq!(head.undecided().len(), MOST_LEADERS_OF_LAYER);
    assert_eq!(case.head("b", "bob", "claimed").undecided(), []);

    for number in 0..MOST_CLAIMS {
        case.claim("c", "carol", &number.to_string());
    }
    let before = case.0.table.lock().size();
    // Each would give its claim back, and be an upload beside.
    for number in 0..9 {
        let session = format!("session {number}");
        case.begin("c", "carol", &session);
        case.claim("c", "carol", &format!("in its place {number}"));
        assert!(case.ends_as(&session, &format!("other {number}")).is_none());
    }
    assert_eq!(case.0.table.lock().size(), before);
}
