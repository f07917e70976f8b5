//! A blob whose data is gone, and that a registry's cache still describes: it is not mounted.

use crate::{needs, support};
use serde_json::json;
use std::fs;
use support::discovery::discover_on_head;
use support::raw_http::Answer;
use support::registry::Registry;
use support::registry_client::{Client, encoded};
use support::registry_log::log_requests;
use support::sidecar::Sidecar;
use support::{bytes_from, wait_until};

/// A registry with a descriptor cache behind a sidecar that only knows that it is one.
struct Case {
    registry: Registry,
    sidecar: Sidecar,
}

impl Case {
    fn start() -> Self {
        let registry = Registry::with(|config| {
            config["storage"]["cache"] = json!({"blobdescriptor": "inmemory"});
            log_requests(config);
        });
        let sidecar = Sidecar::generic(&registry.url(), discover_on_head);
        Self { registry, sidecar }
    }

    /// Suggestions are made to logins; the registry itself asks for none.
    fn alice(&self) -> Client {
        self.sidecar.client().basic("alice", "right")
    }

    /// A blob that was pushed to `source`, and whose data was lost. The cache is warm.
    fn ghost(&self, seed: &str) -> String {
        let digest = self.alice().upload("source", &bytes_from(seed, 3000));
        self.alice().head_blob("source", &digest).expect(200);
        fs::remove_file(self.registry.store.data(&digest)).unwrap();
        let direct = self.registry.client();
        direct.head_blob("source", &digest).expect(200);
        digest
    }
}

fn sourceless(client: &Client, target: &str, digest: &str) -> Answer {
    let path = format!("/v2/{target}/blobs/uploads/?mount={}", encoded(digest));
    client.request("POST", &path).send(client.port)
}

#[test]
fn a_head_is_answered_as_by_the_registry_alone_if_only_its_cache_knows_the_blob() {
    needs!("docker-registry");
    let case = Case::start();
    let digest = case.ghost("head");
    let direct = case.registry.client();
    direct.head_blob("new/direct", &digest).expect(404);
    case.alice().head_blob("new/through", &digest).expect(404);
    assert_eq!(case.sidecar.mounts("native", "none"), 0);
    assert!(!case.registry.store.has_link("new/through", &digest));
    // The registry itself would have mounted it.
    direct.mount("new/named", &digest, "source").expect(201);
    let mut connection = direct.connect();
    let pull = direct.request("GET", &format!("/v2/new/named/blobs/{digest}"));
    connection.write(&pull.bytes(direct.port)).unwrap();
    assert!(connection.answer("GET").is_err(), "it cannot be pulled");
    let count = |what: &str| {
        let line = format!("GET /v2/{what}/blobs/{digest}");
        case.registry.log().matches(&line).count()
    };
    wait_until("the pull is in the log", || count("new/named") == 1);
    assert_eq!(count("source"), 1, "the byte was asked for once");
    // The client uploads it, and from then on it can be mounted again.
    let bytes = bytes_from("head", 3000);
    case.alice().upload("new/through", &bytes);
    case.alice().head_blob("new/other", &digest).expect(200);
    assert_eq!(direct.pull("new/other", &digest), bytes);
}

#[test]
fn a_mount_without_a_source_is_an_upload_if_only_the_registrys_cache_knows_the_blob() {
    needs!("docker-registry");
    let case = Case::start();
    let digest = case.ghost("mount");
    // The target itself is one that seems to hold it.
    for target in ["new/through", "source"] {
        sourceless(&case.registry.client(), target, &digest).expect(202);
        sourceless(&case.alice(), target, &digest).expect(202);
    }
    assert_eq!(case.sidecar.mounts("native", "none"), 0);
}

#[test]
fn a_blob_with_bytes_is_mounted_for_two_requests_and_the_empty_one_too() {
    needs!("docker-registry");
    let case = Case::start();
    for bytes in [bytes_from("there", 3000), Vec::new()] {
        let digest = case.alice().upload("source", &bytes);
        let before = case.sidecar.subrequests();
        case.alice().head_blob("new/through", &digest).expect(200);
        assert_eq!(
            case.sidecar.subrequests() - before,
            2,
            "a look and the mount"
        );
        assert_eq!(case.registry.client().pull("new/through", &digest), bytes);
        sourceless(&case.alice(), "new/other", &digest).expect(201);
        sourceless(&case.alice(), "source", &digest).expect(201);
    }
}
