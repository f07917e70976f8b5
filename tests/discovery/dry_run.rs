//! A safe first week.

use crate::{needs, support};
use serde_json::json;
use support::push::encoded;
use support::registry::Registry;
use support::sidecar::Sidecar;

#[test]
fn a_dry_run_counts_what_it_would_have_saved_and_links_nothing() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, |config| {
        config["discovery"] = json!({"enabled": true, "on_head": true, "sources": "any"});
        config["mount"] = json!({"dry_run": true});
    });
    sidecar.prove();
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    client.head_blob("app", &digest).expect(404);
    let path = format!("/v2/app/blobs/uploads/?mount={}", encoded(&digest));
    client.request("POST", &path).send(client.port).expect(202);
    assert!(!registry.store.has_link("app", &digest));
    assert_eq!(sidecar.mounts("would_mount", "none"), 2);
    for via in ["head", "discovery"] {
        let bytes = sidecar.metric("crossmount_dry_run_bytes_total", &[("via", via)]);
        assert!((bytes - 7.0).abs() < 0.5, "{via} {bytes}");
    }
    assert_eq!(sidecar.mounted(), 0);
}
