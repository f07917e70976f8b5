//! What passes by is learned, and looked at again before it is used.

use super::heads::open;
use crate::{needs, support};
use support::digest_of;
use support::registry::Registry;

#[test]
fn uploads_mounts_and_pulls_are_learned() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = open(&registry);
    let client = sidecar.client();
    let uploaded = client.upload("up", b"uploaded");
    client.head_blob("app1", &uploaded).expect(200);
    // Put there behind our back, and seen when somebody pulls it.
    for (method, text) in [("GET", "pulled"), ("HEAD", "asked for")] {
        let digest = registry.client().upload("behind", text.as_bytes());
        client.head_blob("app2", &digest).expect(404);
        let path = format!("/v2/behind/blobs/{digest}");
        client.request(method, &path).send(client.port).expect(200);
        client.head_blob("app2", &digest).expect(200);
    }
    let part = registry.client().upload("behind", b"in part");
    let path = format!("/v2/behind/blobs/{part}");
    let ranged = client.request("GET", &path).header("Range", "bytes=0-1");
    ranged.send(client.port).expect(206);
    client.head_blob("app3", &part).expect(200);
}

#[test]
fn what_failed_is_not_learned_and_what_is_gone_is_forgotten() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = open(&registry);
    let client = sidecar.client();
    let absent = digest_of(b"absent");
    client.blob("base", &absent).expect(404);
    client.head_blob("app", &absent).expect(404);
    let digest = client.upload("base", b"a layer");
    registry.store.remove_link("base", &digest);
    client.head_blob("app", &digest).expect(404);
    // It was looked at, and is not suggested again though the link is back.
    registry.store.plant_link("base", &digest, &digest);
    client.head_blob("app", &digest).expect(404);
    client.head_blob("base", &digest).expect(200);
    client.head_blob("app", &digest).expect(200);
}
