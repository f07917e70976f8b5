//! Stores that are not the registry's: nothing is ever written.

use crate::{needs, support};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use support::image::Image;
use support::registry::Registry;
use support::sidecar::{self, Sidecar};
use support::store::listing;
use support::{tools, wait_until};

const BLOB: &[u8] = b"a blob in a registry that comes and goes";

/// Pushes and mounts, and wants the sidecar to have written nothing below `wrong`.
fn never_writes(registry: &Registry, wrong: &Path) {
    let digest = registry.client().upload("a", BLOB);
    let before = listing(wrong);
    let sidecar = Sidecar::from(&sidecar::config(&registry.url(), wrong));
    let client = sidecar.client();
    let mut native = 0;
    for turn in 0..3 {
        sidecar.verify_store();
        client.upload("a", BLOB);
        client.upload("a", format!("turn {turn}").as_bytes());
        for target in ["b", "a", "new"] {
            client.mount(target, &digest, "a").expect(201);
            client
                .mount(&format!("{target}{turn}"), &digest, "a")
                .expect(201);
            native += 2;
        }
    }
    assert_eq!(sidecar.mounted(), 0);
    assert_eq!(sidecar.mounts("already_linked", "none"), 0);
    assert_eq!(sidecar.mounts("native", "none"), native);
    assert_eq!(listing(wrong), before);
    assert_eq!(registry.client().pull("new2", &digest), BLOB);
}

#[test]
fn an_empty_directory_that_is_not_the_registrys_stays_empty() {
    needs!("docker-registry");
    let wrong = tempfile::tempdir().unwrap();
    never_writes(&Registry::start(), wrong.path());
    assert_eq!(listing(wrong.path()), BTreeMap::new());
}

#[test]
fn a_copy_of_the_store_is_not_the_store() {
    needs!("docker-registry");
    let registry = Registry::start();
    registry.client().upload("a", BLOB);
    registry.client().upload("proof/of-store", BLOB);
    for turn in 0..3 {
        registry
            .client()
            .upload("a", format!("turn {turn}").as_bytes());
    }
    let wrong = registry.home().join("copy");
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(&registry.store.root).arg(&wrong);
    tools::run(&mut copy);
    never_writes(&registry, &wrong);
}

#[test]
fn another_registrys_store_is_not_the_store() {
    needs!("docker-registry");
    let other = Registry::start();
    other.client().upload("a", BLOB);
    never_writes(&Registry::start(), &other.store.root);
}

#[test]
fn in_front_of_a_pull_through_registry_nothing_is_written() {
    needs!("docker-registry");
    let remote = Registry::start();
    let image = Image::of(&["remote"], 5000);
    image.push(&remote.client(), "library/app", "v1");
    let registry = Registry::with(|config| {
        config["proxy"] = json!({"remoteurl": remote.url()});
    });
    let sidecar = Sidecar::start(&registry);
    let client = sidecar.client();
    for _ in 0..2 {
        image.pull(&client, "library/app", "v1");
        for blob in image.blobs() {
            let answer = client.mount("library/copy", &blob.digest, "library/app");
            answer.expect(405);
            client
                .mount("library/app", &blob.digest, "library/app")
                .expect(405);
        }
        client.begin("library/copy").expect(405);
        wait_until("the registry has kept what it pulled", || {
            registry
                .store
                .link("library/app", &image.layers[0].digest)
                .exists()
        });
    }
    assert!(!registry.store.repository("library/copy").exists());
    assert_eq!(sidecar.mounted(), 0);
    assert_eq!(sidecar.mounts("already_linked", "none"), 0);
}
