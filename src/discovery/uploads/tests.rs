mod manifests;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::waiting_head::JIB_WAITS;
use super::*;

pub(super) const MINUTE: Duration = Duration::from_secs(60);

pub(super) struct Case(pub(super) Arc<UploadsInFlight>);

pub(super) fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

pub(super) fn blob(repository: &str, layer: &str) -> BlobRef {
    BlobRef {
        repository: name(repository),
        digest: Digest::of(layer.as_bytes()),
    }
}

pub(super) fn credentials(user: &str) -> Credentials {
    let header = http::HeaderValue::from_str(&format!("Bearer {user}")).unwrap();
    Credentials::new(Some(&header))
}

impl Case {
    pub(super) fn waiting_at_most(bound: Duration) -> Self {
        let held = IntGauge::new("held", "HEADs").unwrap();
        Self(Arc::new(UploadsInFlight::new(bound, held).unwrap()))
    }

    pub(super) fn held(&self) -> i64 {
        self.0.held.get()
    }

    /// A HEAD of `user`, who may pull from every repository.
    pub(super) fn head(&self, repository: &str, user: &str, layer: &str) -> WaitingHead<'_> {
        self.0
            .head(&blob(repository, layer), &credentials(user), true, "")
    }

    /// The same of a client that is not proved to have push.
    #[track_caller]
    pub(super) fn claim_tentatively(&self, repository: &str, user: &str, layer: &str) {
        let (blob, user) = (blob(repository, layer), credentials(user));
        let mut head = self.0.head(&blob, &user, false, "");
        assert_eq!(now(head.wait()), Some(Waited::Released));
    }

    /// A HEAD that goes on at once, and so claims the layer.
    #[track_caller]
    pub(super) fn claim(&self, repository: &str, user: &str, layer: &str) {
        let mut head = self.head(repository, user, layer);
        assert_eq!(now(head.wait()), Some(Waited::Released));
        assert!(!head.is_held());
    }

    pub(super) fn begin(&self, repository: &str, user: &str, session: &str) {
        self.0
            .begin(&name(repository), &credentials(user), session, None);
    }

    /// The last request of an upload, which names its layer.
    fn ends_as(&self, session: &str, layer: &str) -> Option<UploadRequest> {
        let digest = Digest::of(layer.as_bytes());
        self.0.request(session, Some(&digest), None)
    }

    pub(super) fn request(&self, session: &str) -> UploadRequest {
        self.0.request(session, None, None).unwrap()
    }
}

/// The result of what ends without waiting.
pub(super) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// Decides that the client may pull from every repository, and waits.
pub(super) async fn wait(head: &mut WaitingHead<'_>) -> Waited {
    loop {
        head.fetch_remote().await;
        for repository in head.undecided() {
            head.decide(repository, true);
        }
        match head.wait().await {
            Waited::Undecided => {}
            waited => return waited,
        }
    }
}

pub(super) fn arrived(repository: &str) -> Waited {
    Waited::Arrived(Arc::new(name(repository)))
}

#[tokio::test]
async fn a_head_waits_until_the_layer_has_arrived() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim("a", "alice", "layer");
    case.begin("a", "alice", "session");
    let request = case.request("session");
    let mut head = case.head("b", "bob", "layer");
    let (waited, ()) = tokio::join!(wait(&mut head), async {
        request.add(10);
        tokio::task::yield_now().await;
        assert_eq!(case.held(), 1);
        case.0.arrived(&blob("a", "layer"));
    });
    assert_eq!(waited, arrived("a"));
    assert!(head.is_held());
    drop(head);
    assert_eq!(case.held(), 0);
    assert_eq!(case.0.table.lock().size(), 0);
}

#[tokio::test]
async fn a_client_that_may_not_pull_goes_on_at_once() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim("a", "alice", "layer");
    let mut head = case.head("b", "bob", "layer");
    assert_eq!(head.undecided(), [name("a")]);
    head.decide(name("a"), false);
    assert_eq!(now(head.wait()), Some(Waited::Released));
    // Another layer is not waited for.
    case.claim("b", "bob", "another layer");
}

#[tokio::test]
async fn a_client_that_asks_twice_waits_only_for_its_own_upload() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim("a", "alice", "layer");
    case.claim("a", "alice", "layer");
    case.begin("a", "alice", "session");
    assert_eq!(now(case.head("a", "alice", "layer").wait()), None);
}

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
async fn when_an_upload_breaks_off_one_goes_on_and_the_others_wait_for_it() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim("a", "alice", "layer");
    case.begin("a", "alice", "session");
    let broken = case.request("session");
    let mut heads: Vec<_> = ["b", "c", "d"]
        .map(|repository| case.head(repository, repository, "layer"))
        .into();
    let [first, second, third] = &mut heads[..] else {
        unreachable!()
    };
    let (one, other, third, ()) = tokio::join!(wait(first), wait(second), wait(third), async {
        tokio::task::yield_now().await;
        assert_eq!(case.held(), 3);
        drop(broken);
        tokio::time::sleep(Duration::from_millis(20)).await;
        for repository in ["b", "c", "d"] {
            case.0.arrived(&blob(repository, "layer"));
        }
    });
    let all = [one, other, third];
    let released = all.iter().filter(|waited| **waited == Waited::Released);
    assert_eq!(released.count(), 1, "{all:?}");
    let linked = all
        .iter()
        .filter(|waited| matches!(waited, Waited::Arrived(_)));
    assert_eq!(linked.count(), 2, "{all:?}");
}

#[tokio::test]
async fn a_claim_runs_out_and_is_not_waited_for_again() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim("a", "alice", "layer");
    let mut head = case.head("b", "bob", "layer");
    let began = Instant::now();
    assert_eq!(wait(&mut head).await, Waited::Released);
    assert!(began.elapsed() > Duration::from_secs(1));
    drop(head);
    case.claim("a", "alice", "another");
    let mut head = case.head("c", "carol", "another");
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
}

#[tokio::test]
async fn a_client_that_is_not_proved_to_push_is_waited_for_only_once_it_uploads() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim_tentatively("a", "alice", "layer");
    let mut head = case.head("b", "bob", "layer");
    assert_eq!(head.undecided(), []);
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
    drop(head);
    case.begin("a", "alice", "session");
    let mut head = case.head("c", "carol", "layer");
    assert_eq!(now(wait(&mut head)), None);
}

#[tokio::test]
async fn a_client_that_is_proved_to_push_later_is_waited_for_from_then_on() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim_tentatively("a", "alice", "layer");
    case.claim("a", "alice", "layer");
    // Asking again takes nothing back.
    case.claim_tentatively("a", "alice", "layer");
    let mut head = case.head("b", "bob", "layer");
    assert_eq!(now(wait(&mut head)), None);
}

#[tokio::test]
async fn a_client_that_is_not_proved_to_push_and_uploads_nothing_is_waited_for_another_time() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim_tentatively("m", "mallory", "layer");
    case.claim("a", "alice", "layer");
    case.begin("a", "alice", "session");
    let request = case.request("session");
    let mut head = case.head("b", "bob", "layer");
    let (waited, ()) = tokio::join!(wait(&mut head), async {
        for _ in 0..25 {
            request.add(10);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        case.0.arrived(&blob("a", "layer"));
    });
    assert_eq!(waited, arrived("a"));
    case.claim_tentatively("m", "mallory", "another");
    case.begin("m", "mallory", "later");
    let mut head = case.head("b", "bob", "another");
    assert_eq!(now(wait(&mut head)), None);
}

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

#[tokio::test]
async fn a_layer_that_arrives_between_the_404_and_the_look_is_seen() {
    let case = Case::waiting_at_most(MINUTE);
    case.0.arrived(&blob("a", "layer"));
    let mut head = case.head("b", "bob", "layer");
    assert_eq!(now(wait(&mut head)), Some(arrived("a")));
    // Seen once: if it could not be mounted, the client goes on.
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
    let mut head = case.head("c", "carol", "layer");
    head.decide(name("a"), false);
    head.decide(name("b"), false);
    assert_eq!(now(head.wait()), Some(Waited::Released));
}

#[tokio::test]
async fn a_layer_that_arrives_where_a_client_may_not_pull_is_not_seen() {
    let case = Case::waiting_at_most(MINUTE);
    case.claim("a", "alice", "layer");
    let mut head = case.head("b", "bob", "layer");
    head.decide(name("a"), true);
    head.decide(name("secret"), false);
    let (waited, ()) = tokio::join!(head.wait(), async {
        case.0.arrived(&blob("secret", "layer"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Two at once: neither hides the other.
        case.0.arrived(&blob("a", "layer"));
        case.0.arrived(&blob("secret", "layer"));
    });
    assert_eq!(waited, arrived("a"));
}
