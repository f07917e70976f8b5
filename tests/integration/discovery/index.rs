//! What passes by is learned, and looked at again before it is used.

use crate::{needs, support};
use serde_json::json;
use support::discovery::discover_on_head;
use support::registry::Registry;
use support::registry_client::{encoded, mount_target};
use support::sidecar::Sidecar;
use support::{digest_of, wait_until};

/// A sidecar that does not look in the store for what the index does not know.
fn by_index_alone(registry: &Registry) -> Sidecar {
    let sidecar = Sidecar::with(registry, |config| {
        discover_on_head(config);
        config["discovery"]["search_repositories"] = json!(0);
    });
    sidecar.verify_store();
    sidecar
}

#[test]
fn uploads_mounts_and_pulls_are_learned() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = by_index_alone(&registry);
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
    let sidecar = by_index_alone(&registry);
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

/// Everything that brings a layer of `s` into `t`.
fn mounts(digest: &str) -> [(&'static str, String); 3] {
    [
        ("POST", mount_target("t", digest, "s")),
        (
            "POST",
            format!("/v2/t/blobs/uploads/?mount={}", encoded(digest)),
        ),
        ("HEAD", format!("/v2/t/blobs/{digest}")),
    ]
}

#[test]
fn a_mount_that_is_answered_here_teaches_its_source_and_its_target() {
    needs!("docker-registry");
    let registry = begun(Registry::start());
    let sidecar = Sidecar::with_discovery(&registry);
    sidecar.wait_for_scan();
    let (client, direct) = (sidecar.client(), registry.client());
    for (already, gone) in [(false, "s"), (false, "t"), (true, "s"), (true, "t")] {
        let text = format!("{already} {gone}");
        let digest = direct.upload("s", text.as_bytes());
        if already {
            registry.store.plant_link("t", &digest, &digest);
        }
        client.mount("t", &digest, "s").expect(201);
        // One is enough, whichever is left.
        registry.store.remove_link(gone, &digest);
        client.head_blob("u", &digest).expect(200);
    }
    assert_eq!(sidecar.mounts("already_linked", "none"), 2);
    assert_eq!(sidecar.mounts("mounted", "none"), 6);
}

#[test]
fn a_mount_that_the_registry_makes_teaches_its_source_and_its_target() {
    needs!("docker-registry");
    let registry = begun(Registry::start());
    let sidecar = Sidecar::with(&registry, |config| {
        discover_on_head(config);
        config["store"]["verify"] = json!("sha256");
    });
    sidecar.verify_store();
    sidecar.wait_for_scan();
    for (number, gone) in ["s", "t"].into_iter().enumerate() {
        let digest = registry.client().upload("s", gone.as_bytes());
        // It was not hashed yet, so the registry is asked.
        sidecar.client().mount("t", &digest, "s").expect(201);
        assert_eq!(
            sidecar.mounts("native", "blob_unverified"),
            number as u64 + 1
        );
        registry.store.remove_link(gone, &digest);
        wait_until("it is hashed", || {
            sidecar.client().head_blob("u", &digest).status == 200
        });
    }
}

/// A registry whose store is there, so that the walk at the start has something to walk through.
fn begun(registry: Registry) -> Registry {
    let user = registry.client().basic("alice", "right");
    user.upload("before", b"before the start");
    registry
}

#[test]
fn a_mount_that_is_refused_teaches_nothing() {
    needs!("docker-registry");
    let registry = begun(Registry::start());
    let sidecar = by_index_alone(&registry);
    let client = sidecar.client();
    sidecar.wait_for_scan();
    let known = sidecar.metric("crossmount_index_links", &[]);
    let digest = registry.client().upload("elsewhere", b"a layer");
    // The registry makes no mount of these, and begins an upload.
    client.mount("t", &digest, "s").expect(202);
    client
        .mount("t", &digest_of(b"absent"), "elsewhere")
        .expect(202);
    client.head_blob("u", &digest).expect(404);
    assert!((sidecar.metric("crossmount_index_links", &[]) - known).abs() < 0.5);
}

#[test]
fn only_the_login_that_has_mounted_is_known_to_use_both() {
    needs!("docker-registry", "htpasswd");
    let users = [("alice", "right"), ("bob", "right"), ("eve", "right")];
    let registry = begun(Registry::with_htpasswd(&users));
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "upstream"});
        discover_on_head(config);
    });
    let login = |user: &str| sidecar.client().basic(user, "right");
    sidecar.verify_store_as(&login("eve"));
    sidecar.wait_for_scan();
    let direct = registry.client().basic("alice", "right");
    for (number, gone) in ["s", "t"].into_iter().enumerate() {
        let (s, t) = (format!("s{number}"), format!("t{number}"));
        let digest = direct.upload(&s, gone.as_bytes());
        // Nothing is noted for a login that is refused.
        let stranger = sidecar.client().basic("alice", "wrong");
        stranger.mount(&t, &digest, &s).expect(401);
        login("alice").mount(&t, &digest, &s).expect(201);
        let left = if gone == "s" { &s } else { &t };
        registry.store.remove_link(left, &digest);
        login("bob").head_blob("u", &digest).expect(404);
        stranger.head_blob("u", &digest).expect(401);
        login("alice").head_blob("u", &digest).expect(200);
    }
    assert_eq!(sidecar.mounts("mounted", "none"), 4);
}

#[test]
fn mounts_without_a_source_and_heads_teach_their_target() {
    needs!("docker-registry", "htpasswd");
    let registry = begun(Registry::with_htpasswd(&[
        ("alice", "right"),
        ("bob", "right"),
    ]));
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "upstream"});
        config["discovery"] = json!({
            "enabled": true, "on_head": true, "sources": "any", "shared_sources": ["s"],
        });
    });
    let login = |user: &str| sidecar.client().basic(user, "right");
    sidecar.verify_store_as(&login("bob"));
    sidecar.wait_for_scan();
    for (number, (method, target)) in mounts("D").into_iter().enumerate() {
        let text = format!("layer {number}");
        let digest = login("bob").upload("s", text.as_bytes());
        let target = target.replace('D', &digest);
        let request = login("alice").request(method, &target);
        let status = request.send(sidecar.port).status;
        assert_eq!(status, if method == "HEAD" { 200 } else { 201 }, "{target}");
        // She may use it from where it is now, because she was let in there.
        registry.store.remove_link("s", &digest);
        login("alice").head_blob("u", &digest).expect(200);
    }
}
