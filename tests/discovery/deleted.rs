//! What was deleted on purpose stays away.

use super::heads::open;
use crate::{needs, support};
use support::registry::Registry;

#[test]
fn a_deleted_layer_is_not_brought_back_by_a_head() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = open(&registry);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    client.head_blob("app", &digest).expect(200);
    let path = format!("/v2/app/blobs/{digest}");
    client
        .request("DELETE", &path)
        .send(client.port)
        .expect(202);
    client.head_blob("app", &digest).expect(404);
    // Elsewhere it may appear.
    client.head_blob("other", &digest).expect(200);
    // Whoever asks for a mount says that it is wanted.
    client.mount("app", &digest, "base").expect(201);
    client.head_blob("app", &digest).expect(200);
    assert_eq!(sidecar.mounted(), 3);
}

#[test]
fn a_delete_that_the_registry_refuses_bars_nothing() {
    needs!("docker-registry");
    let registry = Registry::with(|config| {
        config["storage"]["delete"] = serde_json::json!({"enabled": false});
    });
    let sidecar = open(&registry);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    let path = format!("/v2/app/blobs/{digest}");
    client
        .request("DELETE", &path)
        .send(client.port)
        .expect(405);
    client.head_blob("app", &digest).expect(200);
    assert_eq!(sidecar.mounted(), 1);
}
