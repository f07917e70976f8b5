//! What the process does to the disk, as the kernel saw it.

use crate::{needs, support};
use serde_json::json;
use std::path::Path;
use support::image::Image;
use support::registry::Registry;
use support::strace::{StracedSidecar, SystemCall};

/// Whether this is a place where layer links and their folders may be written.
fn is_for_links(top: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(top.join("repositories")) else {
        return false;
    };
    inside
        .components()
        .any(|part| part.as_os_str() == "_layers")
}

fn writes(calls: &[SystemCall]) -> Vec<&SystemCall> {
    calls.iter().filter(|call| call.writes()).collect()
}

/// Creates, opens for writing, names or removes nothing but links, files without a name beside them,
/// and folders on the way to them.
#[track_caller]
fn writes_only_links(registry: &Registry, calls: &[SystemCall]) -> usize {
    let top = registry.store.top();
    let mut links = 0;
    for call in writes(calls) {
        assert!(!call.paths.is_empty(), "{}", call.line);
        let removes = call.name.starts_with("unlink") || call.name == "rmdir";
        for path in &call.paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let temporary = name.starts_with("link.crossmount.") && name.ends_with(".tmp");
            let on_the_way =
                call.name.starts_with("mkdir") && path.starts_with(&registry.store.root);
            // The file that has no name yet.
            let own = call.name == "linkat" && path.starts_with("/proc/self/fd");
            let inside = is_for_links(&top, path);
            assert!(inside || on_the_way || own, "{}", call.line);
            assert!(!removes || temporary, "{}", call.line);
            if call.name.starts_with("open") {
                assert!(call.line.contains("O_TMPFILE"), "{}", call.line);
            }
            links += usize::from(call.name == "linkat" && name == "link");
        }
    }
    links
}

#[test]
fn it_writes_nothing_but_layer_links() {
    needs!("docker-registry", "strace");
    let registry = Registry::start();
    let traced = StracedSidecar::start(&registry, |_| ());
    let sidecar = &traced.sidecar;
    let client = sidecar.client();
    let image = Image::of(&["one", "two"], 100_000);

    image.push(&client, "org1/image", "v1");
    for target in ["org2/image", "org2/image", "a/b/c"] {
        for blob in image.blobs() {
            client.mount(target, &blob.digest, "org1/image").expect(201);
        }
    }
    client
        .put_manifest("org2/image", "v1", &image.manifest.bytes)
        .expect(201);
    image.pull(&client, "org2/image", "v1");
    let missing = support::digest_of(b"missing");
    let opened = client.mount("a/b/c", &missing, "org1/image").expect(202);
    client.finish_in_pieces(&opened, b"missing", 3).expect(201);
    client.mount("a/b/c", &missing, "no/such").expect(202);
    let layer = &image.layers[0].digest;
    let deletion = client.request("DELETE", &format!("/v2/a/b/c/blobs/{layer}"));
    deletion.send(client.port).expect(202);
    assert_eq!(sidecar.mounted(), 6);
    assert_eq!(sidecar.mounts("already_linked", "none"), 3);

    let calls = traced.calls();
    assert_eq!(writes_only_links(&registry, &calls), 6);
}

#[test]
fn a_dry_run_writes_nothing_at_all() {
    needs!("docker-registry", "strace");
    let registry = Registry::start();
    let traced = StracedSidecar::start(&registry, |config| {
        config["mount"]["dry_run"] = json!(true);
    });
    let client = traced.sidecar.client();
    let digest = client.upload("a", b"only looked at");
    client.mount("b", &digest, "a").expect(201);
    assert_eq!(traced.sidecar.mounts("would_mount", "none"), 1);
    let calls = traced.calls();
    assert!(calls.iter().any(|call| call.line.contains(&digest[7..])));
    let written: Vec<_> = writes(&calls).iter().map(|call| &call.line).collect();
    assert!(written.is_empty(), "{written:#?}");
}

#[test]
fn what_only_passes_touches_no_file() {
    needs!("docker-registry", "strace");
    let registry = Registry::start();
    let image = Image::of(&["one"], 100_000);
    image.push(&registry.client(), "a", "v1");
    let traced = StracedSidecar::start(&registry, |_| ());
    let client = traced.sidecar.client();
    client.get("/v2/").expect(200);
    let before = traced.calls().len();
    image.pull(&client, "a", "v1");
    client.get("/v2/_catalog").expect(200);
    client.head_blob("a", &image.layers[0].digest).expect(200);
    let calls = traced.calls();
    let touched: Vec<_> = calls[before..]
        .iter()
        .filter(|call| {
            call.paths
                .iter()
                .any(|path| path.starts_with(&registry.store.root))
        })
        .map(|call| &call.line)
        .collect();
    assert!(touched.is_empty(), "{touched:#?}");
}

#[test]
fn for_a_denied_caller_the_store_is_not_looked_at() {
    needs!("docker-registry", "strace", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let traced = StracedSidecar::start(&registry, |config| {
        config["access"] = json!({"mode": "upstream"});
    });
    let alice = traced.sidecar.client().basic("alice", "right");
    traced.sidecar.verify_store_as(&alice);
    let digest = alice.upload("secret/source", b"not for everybody");
    alice
        .mount("allowed/target", &digest, "secret/source")
        .expect(201);
    assert_eq!(traced.sidecar.mounted(), 1);
    let calls = traced.calls();
    // The trace does see what is done for somebody who may.
    assert!(
        calls.iter().any(
            |call| call.line.contains("allowed/target") || call.line.contains("target/_layers")
        )
    );

    for client in [
        traced.sidecar.client().basic("alice", "wrong"),
        traced.sidecar.client().basic("mallory", "right"),
        traced.sidecar.client(),
    ] {
        for source in ["secret/source", "no/such/source"] {
            client.mount("denied/target", &digest, source).expect(401);
        }
    }
    let after = traced.calls();
    let touched: Vec<_> = after[calls.len()..]
        .iter()
        .filter(|call| {
            call.paths
                .iter()
                .any(|path| path.starts_with(&registry.store.root))
                || ["denied", "secret", "such", &digest[7..]]
                    .iter()
                    .any(|word| call.line.contains(word))
        })
        .map(|call| &call.line)
        .collect();
    assert!(touched.is_empty(), "{touched:#?}");
}
