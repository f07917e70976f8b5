mod limits;
mod manifests;
mod mistakes;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

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
    pub(super) fn ends_as(&self, session: &str, layer: &str) -> Option<UploadRequest> {
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
