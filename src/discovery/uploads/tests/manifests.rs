//! In front of a registry that mounts a layer only after a manifest of its repository names it.

use super::*;
use bytes::Bytes;
use http::StatusCode;

impl Case {
    fn mounting_named(copies: bool) -> Self {
        let held = IntGauge::new("held", "HEADs").unwrap();
        let uploads = UploadsInFlight::new(MINUTE, held).unwrap();
        Self(Arc::new(uploads.mounting(Mountable::Named { copies })))
    }

    /// A client that has uploaded the layer.
    fn upload(&self, repository: &str, user: &str, layer: &str) {
        self.claim(repository, user, layer);
        self.begin(repository, user, layer);
        let mut push = self.push_request(repository, user, PushStep::Layer);
        let mut request = self.request(layer);
        request.add(10);
        request.record_success();
        self.0.uploaded(&blob(repository, layer));
        push.settle(StatusCode::CREATED);
    }

    fn push_request(&self, repository: &str, user: &str, step: PushStep) -> PushRequest {
        let (repository, user) = (name(repository), credentials(user));
        let request = self.0.push_request(&repository, &user, step);
        request.unwrap()
    }

    fn put_manifest(&self, repository: &str, user: &str, layer: &str, status: StatusCode) {
        let mut put = self.push_request(repository, user, PushStep::Manifest);
        let digest = Digest::of(layer.as_bytes());
        let manifest = format!(r#"{{"layers":[{{"digest":"{digest}"}}]}}"#);
        let (one, two) = manifest.split_at(40);
        for piece in [one, two] {
            put.add(&Bytes::copy_from_slice(piece.as_bytes()));
        }
        put.complete_body();
        put.settle(status);
    }
}

fn uploaded(repository: &str) -> Waited {
    Waited::Uploaded(Arc::new(name(repository)))
}

#[tokio::test]
async fn a_layer_arrives_with_the_manifest_that_names_it() {
    let case = Case::mounting_named(false);
    case.upload("a", "alice", "layer");
    let mut head = case.head("b", "bob", "layer");
    let mut other = case.head("c", "carol", "layer");
    assert_eq!(now(wait(&mut head)), None);
    case.put_manifest("a", "alice", "another", StatusCode::CREATED);
    assert_eq!(now(wait(&mut head)), None);
    // A client may get a token for each request.
    case.put_manifest("a", "alice's next token", "layer", StatusCode::CREATED);
    assert_eq!(now(wait(&mut head)), Some(arrived("a")));
    assert_eq!(now(wait(&mut other)), Some(arrived("a")));
    drop((head, other));
    let table = case.0.table.lock();
    assert_eq!(
        (table.size(), table.has_uploaded_layers(&name("a"))),
        (0, false)
    );
}

#[tokio::test]
async fn in_its_own_repository_a_layer_needs_no_manifest() {
    let case = Case::mounting_named(false);
    case.claim("a", "alice", "layer");
    case.begin("a", "alice", "layer");
    let mut request = case.request("layer");
    let mut head = case.head("a", "alice", "layer");
    assert_eq!(now(wait(&mut head)), None);
    request.record_success();
    case.0.uploaded(&blob("a", "layer"));
    assert_eq!(now(wait(&mut head)), Some(uploaded("a")));
}

#[tokio::test]
async fn a_layer_that_can_be_copied_is_tried_once_and_then_waited_for() {
    let case = Case::mounting_named(true);
    case.upload("a", "alice", "layer");
    let mut head = case.head("b", "bob", "layer");
    assert_eq!(now(wait(&mut head)), Some(uploaded("a")));
    assert!(head.is_held());
    assert_eq!(now(wait(&mut head)), None);
    case.put_manifest("a", "alice", "layer", StatusCode::CREATED);
    assert_eq!(now(wait(&mut head)), Some(arrived("a")));
}

#[tokio::test]
async fn a_manifest_that_is_refused_releases_one() {
    let case = Case::mounting_named(false);
    case.upload("a", "alice", "layer");
    let mut head = case.head("b", "bob", "layer");
    let mut other = case.head("c", "carol", "layer");
    for status in [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::BAD_GATEWAY,
    ] {
        case.put_manifest("a", "alice", "layer", status);
        assert_eq!(now(wait(&mut head)), None);
    }
    case.put_manifest("a", "alice", "layer", StatusCode::BAD_REQUEST);
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
    assert_eq!(now(wait(&mut other)), None);
}

#[tokio::test]
async fn a_push_that_goes_on_is_waited_for_and_one_that_stops_is_not() {
    let case = Case::mounting_named(false);
    case.upload("a", "alice", "layer");
    let mut unanswered = case.push_request("a", "alice", PushStep::Layer);
    unanswered.complete_body();
    let mut head = case.head("b", "bob", "layer");
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(now(wait(&mut head)), None);
    drop(unanswered);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(now(wait(&mut head)), None);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
}

#[tokio::test]
async fn a_token_that_the_registry_refuses_keeps_no_push_alive() {
    let case = Case::mounting_named(false);
    case.upload("a", "alice", "layer");
    let mut head = case.head("b", "bob", "layer");
    assert_eq!(now(wait(&mut head)), None);
    std::thread::sleep(Duration::from_secs(3));
    // Mallory's requests are refused, not answered, or only look for a layer.
    let mut unanswered = case.push_request("a", "mallory", PushStep::Layer);
    unanswered.add(&Bytes::from_static(b"a piece"));
    unanswered.complete_body();
    case.push_request("a", "mallory", PushStep::Open)
        .settle(StatusCode::UNAUTHORIZED);
    case.push_request("a", "mallory", PushStep::Look)
        .settle(StatusCode::OK);
    let mut again = case.push_request("a", "mallory", PushStep::Layer);
    again.complete_body();
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(now(wait(&mut head)), Some(Waited::Released));
}

#[tokio::test]
async fn a_claim_lasts_while_the_registry_opens_the_upload_session() {
    let case = Case::mounting_named(false);
    let asks = case.push_request("a", "alice", PushStep::Layer);
    case.claim("a", "alice", "layer");
    let opens = case.push_request("a", "alice", PushStep::Open);
    drop(asks);
    std::thread::sleep(Duration::from_millis(2100));
    let mut head = case.head("b", "bob", "layer");
    assert_eq!(now(wait(&mut head)), None);
    case.begin("a", "alice", "session");
    drop(opens);
    assert!(case.0.table.lock().layer_of("session").is_some());
}

#[tokio::test]
async fn two_pushes_never_wait_for_each_others_manifests() {
    let case = Case::mounting_named(false);
    case.upload("a", "alice", "one");
    case.upload("b", "bob", "two");
    let mut alice = case.head("a", "alice", "two");
    let mut waits = pin!(wait(&mut alice));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut context).is_pending());
    // Carol is in no circle.
    assert_eq!(now(wait(&mut case.head("c", "carol", "one"))), None);
    let mut bob = case.head("b", "bob", "one");
    assert_eq!(now(wait(&mut bob)), Some(Waited::Released));
    assert!(!bob.is_held());
}
