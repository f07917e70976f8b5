//! Real clients: they must find out by themselves that they can mount, and be content.

use crate::{needs, support};
use serde_json::json;
use std::fs;
use support::client_programs::{Skopeo, Storage, at};
use support::image::Image;
use support::registry::Registry;
use support::registry_log::log_requests;
use support::sidecar::Sidecar;
use support::tools;

/// A registry that says what it was asked.
fn talkative() -> Registry {
    Registry::with(log_requests)
}

/// How many blobs were uploaded into this repository.
fn uploads(registry: &Registry, repository: &str) -> usize {
    let put = format!("\"PUT /v2/{repository}/blobs/uploads/");
    registry
        .log()
        .lines()
        .filter(|line| line.contains(&put))
        .count()
}

#[test]
fn skopeo_mounts_what_it_pushed_before() {
    needs!("docker-registry", "skopeo");
    let registry = talkative();
    let sidecar = Sidecar::start(&registry);
    let skopeo = Skopeo::new();
    let image = Image::of(&["one", "two", "three"], 50_000);
    let layout = skopeo.layout(&image, "layout");

    skopeo.copy(&layout, &at(sidecar.port, "org1/image:v1"));
    assert_eq!(uploads(&registry, "org1/image"), 4);
    image.pull(&sidecar.client(), "org1/image", "v1");
    skopeo.copy(&layout, &at(sidecar.port, "org2/image:v1"));
    assert_eq!(sidecar.mounts("mounted", "none"), 3);
    // skopeo never asks for the configuration by mount.
    assert!(uploads(&registry, "org2/image") <= 1);
    image.pull(&sidecar.client(), "org2/image", "v1");
    image.pull(&registry.client(), "org2/image", "v1");

    let pulled = skopeo.home().join("pulled");
    skopeo.copy(
        &at(sidecar.port, "org2/image:v1"),
        &format!("oci:{}:v1", pulled.display()),
    );
    for blob in image.blobs() {
        let name = blob.digest.strip_prefix("sha256:").unwrap();
        let got = fs::read(pulled.join("blobs/sha256").join(name)).unwrap();
        assert_eq!(got, blob.bytes);
    }
}

#[test]
fn skopeo_mounts_shared_layers_and_uploads_its_own() {
    needs!("docker-registry", "skopeo");
    let registry = talkative();
    let sidecar = Sidecar::start(&registry);
    let skopeo = Skopeo::new();
    let base = Image::of(&["base one", "base two"], 50_000);
    let app = Image::of(&["base one", "base two", "app"], 50_000);
    let first = skopeo.layout(&base, "base");
    let second = skopeo.layout(&app, "app");
    skopeo.copy(&first, &at(sidecar.port, "team/base:v1"));
    skopeo.copy(&second, &at(sidecar.port, "team/app:v1"));
    assert_eq!(sidecar.mounts("mounted", "none"), 2);
    assert_eq!(uploads(&registry, "team/app"), 2);
    app.pull(&registry.client(), "team/app", "v1");

    // From repository to repository: nothing but mounts, and at most the configuration.
    skopeo.copy(
        &at(sidecar.port, "team/app:v1"),
        &at(sidecar.port, "team/copy:v1"),
    );
    assert_eq!(sidecar.mounts("mounted", "none"), 5);
    assert!(uploads(&registry, "team/copy") <= 1);
    app.pull(&registry.client(), "team/copy", "v1");
}

#[test]
fn skopeo_uploads_what_was_deleted_behind_its_cache() {
    needs!("docker-registry", "skopeo");
    let registry = talkative();
    let sidecar = Sidecar::start(&registry);
    let skopeo = Skopeo::new();
    let image = Image::of(&["soon gone", "stays"], 50_000);
    let layout = skopeo.layout(&image, "layout");
    skopeo.copy(&layout, &at(sidecar.port, "a:v1"));
    fs::remove_file(registry.store.data(&image.layers[0].digest)).unwrap();
    skopeo.copy(&layout, &at(sidecar.port, "b:v1"));
    assert_eq!(sidecar.mounts("mounted", "none"), 1);
    image.pull(&registry.client(), "b", "v1");
}

#[test]
fn skopeo_logs_in_and_mounts() {
    needs!("docker-registry", "skopeo", "htpasswd");
    let mut registry = Registry::prepared(|config| {
        log_requests(config);
    });
    registry.demand_passwords(&[("alice", "right")]);
    registry.resume();
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "upstream"});
    });
    let skopeo = Skopeo::new();
    let image = Image::of(&["one", "two"], 50_000);
    let layout = skopeo.layout(&image, "layout");
    let push = |password: &str, target: &str| {
        skopeo
            .command()
            .args(["copy", "--dest-tls-verify=false", "--dest-creds"])
            .arg(format!("alice:{password}"))
            .args([&layout, &at(sidecar.port, target)])
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(push("right", "org1/image:v1"));
    assert!(push("right", "org2/image:v1"));
    assert_eq!(sidecar.mounts("mounted", "none"), 2);
    assert!(!push("wrong", "org3/image:v1"));
    assert!(!registry.store.repository("org3/image").exists());
    let alice = registry.client().basic("alice", "right");
    image.pull(&alice, "org2/image", "v1");
}

/// Every blob that a manifest names, pulled and hashed.
fn pull_by_manifest(registry: &Registry, repository: &str, tag: &str) -> usize {
    let client = registry.client();
    let manifest = client
        .request("GET", &format!("/v2/{repository}/manifests/{tag}"))
        .header("Accept", support::image::MANIFEST_TYPE)
        .send(client.port)
        .expect(200);
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.body).unwrap();
    let mut blobs = manifest["layers"].as_array().unwrap().clone();
    blobs.push(manifest["config"].clone());
    for blob in &blobs {
        client.pull(repository, blob["digest"].as_str().unwrap());
    }
    blobs.len()
}

#[test]
fn buildah_builds_pushes_twice_and_pulls_back() {
    needs!("docker-registry", "buildah");
    if !tools::is_root() {
        return tools::skip("buildah needs root or a prepared user namespace");
    }
    let registry = talkative();
    let sidecar = Sidecar::start(&registry);
    let buildah = Storage::new("buildah");
    let policy = buildah.folder("policy.json");
    let policy = format!("--signature-policy={}", policy.display());
    let mut from = "scratch".to_owned();
    for layer in ["one", "two"] {
        // The content is new in each run: root's blob-info cache outlives a test.
        let file = buildah.folder(layer);
        let seed = format!(
            "{layer} {} {:?}",
            sidecar.port,
            std::time::SystemTime::now()
        );
        fs::write(&file, support::bytes_from(&seed, 20_000)).unwrap();
        let container = buildah.run(&["from", &policy, "--pull-never", &from]);
        buildah.run(&[
            "copy",
            &container,
            &file.to_string_lossy(),
            &format!("/{layer}"),
        ]);
        from = format!("localhost/image-{layer}");
        buildah.run(&["commit", &policy, &container, &from]);
        buildah.run(&["rm", &container]);
    }
    for target in ["org1/image", "org2/image"] {
        let target = at(sidecar.port, &format!("{target}:v1"));
        buildah.run(&["push", &policy, "--tls-verify=false", &from, &target]);
    }
    assert_eq!(sidecar.mounts("mounted", "none"), 2);
    assert!(uploads(&registry, "org2/image") <= 1);
    assert_eq!(pull_by_manifest(&registry, "org2/image", "v1"), 3);

    let fresh = Storage::new("buildah");
    let source = at(sidecar.port, "org2/image:v1");
    let id = fresh.run(&["pull", &policy, "--quiet", "--tls-verify=false", &source]);
    assert_eq!(id.len(), 64, "{id}");
}

#[test]
fn podman_pushes_twice_and_pulls_back() {
    needs!("docker-registry", "podman");
    if !tools::is_root() {
        return tools::skip("podman needs root or a prepared user namespace");
    }
    let registry = talkative();
    let sidecar = Sidecar::start(&registry);
    let podman = Storage::new("podman");
    let policy = podman.folder("policy.json");
    let policy = format!("--signature-policy={}", policy.display());
    // New in each run: root's blob-info cache outlives a test.
    let seed = format!("{}-{}", sidecar.port, std::process::id());
    let image = Image::of(&[&seed, "common to all runs"], 20_000);
    let origin = Registry::start();
    image.push(&origin.client(), "origin", "v1");
    let source = at(origin.port, "origin:v1");
    let id = podman.run(&["pull", &policy, "--quiet", "--tls-verify=false", &source]);
    let push = |target: &str| {
        let target = at(sidecar.port, target);
        podman.run(&[
            "push",
            &policy,
            "--quiet",
            "--tls-verify=false",
            &id,
            &target,
        ]);
    };
    push("org1/image:v1");
    push("org2/image:v1");
    assert!(
        sidecar.mounts("mounted", "none") >= 2,
        "{:?}",
        sidecar.all_mounts()
    );
    assert_eq!(pull_by_manifest(&registry, "org2/image", "v1"), 3);

    let fresh = Storage::new("podman");
    let source = at(sidecar.port, "org2/image:v1");
    let again = fresh.run(&["pull", &policy, "--quiet", "--tls-verify=false", &source]);
    assert_eq!(again, id);
}
