//! A HEAD in a repository that another registry does not have yet.

use crate::{needs, support};
use serde_json::{Value, json};
use support::image::Image;
use support::pulp::{self, ADMIN, fresh};
use support::registry::Registry;
use support::registry_client::encoded;
use support::registry_log::log_requests;
use support::sidecar::Sidecar;
use support::wait_until;

fn strict(config: &mut Value) {
    config["discovery"] = json!({
        "enabled": true, "on_head": true, "sources": "any", "new_repositories": false,
    });
}

#[test]
fn generic_registries_are_asked_for_the_repository_before_a_head_mounts() {
    needs!("docker-registry");
    let registry = Registry::with(|config| {
        log_requests(config);
    });
    let sidecar = Sidecar::generic(&registry.url(), strict);
    let [alice, bob] = ["alice", "bob"].map(|user| sidecar.client().basic(user, "right"));
    let digest = alice.upload("base", b"a layer");
    Image::of(&["own"], 2000).push(&alice, "there", "v1");
    for (repository, status) in [("new", 404), ("there", 200)] {
        // To him nothing can be suggested, so nothing is asked for him.
        let before = sidecar.subrequests();
        bob.head_blob(repository, &digest).expect(404);
        assert_eq!(sidecar.subrequests(), before);
        alice.head_blob(repository, &digest).expect(status);
        let asked = format!("GET /v2/{repository}/tags/list?n=1 ");
        wait_until("the question is in the log", || {
            registry.log().matches(&asked).count() == 1
        });
    }
    assert!(!registry.store.repository("new").exists());
    // A mount is a push, which may be the first.
    let path = format!("/v2/new/blobs/uploads/?mount={}", encoded(&digest));
    alice.request("POST", &path).send(alice.port).expect(201);
    alice.mount("newer", &digest, "base").expect(201);
}

#[test]
fn pulp_is_asked_for_the_repository_before_a_head_mounts() {
    let Some(pulp) = pulp::start() else { return };
    let sidecar = pulp.sidecar(strict);
    let team = fresh("team");
    let [base, there, new] = ["base", "there", "new"].map(|name| format!("{team}/{name}"));
    let image = Image::of(&[&fresh("base")], 2000);
    image.push(&pulp.pushing(sidecar.port, ADMIN, &base), &base, "v1");
    let own = Image::of(&[&fresh("own")], 2000);
    own.push(&pulp.pushing(sidecar.port, ADMIN, &there), &there, "v1");
    let digest = &image.layers[0].digest;
    for (target, status) in [(&new, 404), (&there, 302)] {
        let client = pulp.mounting(sidecar.port, ADMIN, target, &base);
        client.head_blob(target, digest).expect(status);
    }
    let client = pulp.mounting(sidecar.port, ADMIN, &new, &base);
    client.mount(&new, digest, &base).expect(201);
}
