//! A safe first week.

use crate::{needs, support};
use serde_json::json;
use support::discovery::discover_on_head;
use support::registry::Registry;
use support::registry_client::encoded;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::Sidecar;

#[test]
fn a_dry_run_counts_what_it_would_have_saved_and_links_nothing() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, |config| {
        discover_on_head(config);
        config["mount"]["dry_run"] = json!(true);
    });
    sidecar.verify_store();
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

#[test]
fn a_dry_run_sends_a_mount_on_as_it_would_go_without_discovery() {
    let registry = ScriptedRegistry::start(|_| None);
    let digest = registry.plant("base", b"a layer");
    let sidecar = registry.sidecar(|config| {
        config["discovery"] = json!({"enabled": true, "sources": "any"});
        config["mount"]["dry_run"] = json!(true);
    });
    sidecar.wait_for_scan();
    let client = sidecar.client();
    client.mount("app", &digest, "nowhere").expect(202);
    assert_eq!(sidecar.mounts("would_mount", "none"), 1);
    let sent: Vec<_> = registry.heard("POST");
    let sent: Vec<_> = sent
        .iter()
        .filter(|heard| !heard.is_the_sidecars())
        .collect();
    // The disk says that the source has nothing, so the registry is asked for an upload.
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].target, "/v2/app/blobs/uploads/");
}
