//! The servers that these tests are built on do what the tests take for granted.

use crate::needs;
use crate::support::azurite::Azurite;
use crate::support::counting_proxy::{CountingProxy, DENIED, FAILED, Fate, Kind, SLOW_DOWN};
use crate::support::seaweedfs::{self, REGISTRY};
use crate::support::{bytes_from, raw_http::Request};

#[test]
fn a_registry_pushes_to_the_bucket_through_a_proxy_that_counts() {
    needs!("docker-registry");
    let Some(server) = seaweedfs::start() else {
        return;
    };
    let bucket = server.bucket();
    let proxy = CountingProxy::start(server.port);
    let registry = bucket.registry(proxy.port, |_| ());
    let layer = bytes_from("a layer", 100_000);
    let digest = registry.client().upload("team/image", &layer);
    assert_eq!(registry.client().pull("team/image", &digest), layer);
    for kind in [Kind::OldList, Kind::Get, Kind::Put] {
        assert!(proxy.count(kind) > 0, "{kind:?}");
    }
    let all = proxy.calls();
    assert!(
        all.iter()
            .all(|call| call.access_key == REGISTRY.access_key)
    );
    let data = seaweedfs::data("", &digest);
    assert!(all.iter().any(|call| call.target.contains(&data)), "{data}");
    let planted = bucket.plant("", &["team/other"], b"planted past the registry");
    registry.client().pull("team/other", &planted);
    bucket.remove(&seaweedfs::link("", "team/other", &planted));
    registry.client().blob("team/other", &planted).expect(404);
}

#[test]
fn the_proxy_answers_for_the_object_store() {
    let Some(server) = seaweedfs::start() else {
        return;
    };
    let bucket = server.bucket();
    let proxy = CountingProxy::start(server.port);
    let list = format!("/{}?list-type=2", bucket.name);
    let status = |target: &str| Request::new("GET", target).send(proxy.port).status;
    // Without a signature.
    assert_eq!(status(&list), 403);
    proxy.decide(|call| match call.kind {
        Kind::List => SLOW_DOWN,
        _ => DENIED,
    });
    assert_eq!(status(&list), 503);
    assert_eq!(status(&format!("/{}/key", bucket.name)), 403);
    proxy.decide(|_| FAILED);
    assert_eq!(status(&list), 500);
    proxy.decide(|_| Fate::Close);
    assert!(Request::new("GET", &list).try_send(proxy.port).is_err());
    assert_eq!((proxy.count(Kind::List), proxy.count(Kind::Get)), (4, 1));
}

#[test]
fn azures_server_takes_blobs() {
    needs!("azurite");
    let azurite = Azurite::start();
    azurite.create_container("registry");
    azurite.put("registry", "a/b", b"text");
}
