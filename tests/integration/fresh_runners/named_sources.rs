//! Clients that name the repository that their layers came from.

use super::forms::{DOCKER_BUILD, DOCKER_LOGIN, DOCKER_PUSH, Daemon, Form, Given, form, installed};
use super::push::{Push, Target};
use super::scene::{Logins, OWN, OWNER, STRANGER, Scene};
use crate::support::archive::Compression;
use crate::support::fresh_runner::can_run;
use serde_json::json;

const CONTEXT: Given = Given::Context("HOST/base:v1");
const LAYOUT: Given = Given::Layout(Compression::Gzip);
const OWNERS_LOGIN: &str = "docker login --username alice --password right HOST";
const OWNERS_PULL: &str = "docker pull --quiet HOST/base:v1";

/// The base is read by its owner. Then the runner's login pushes an image with those layers.
const FORMS: &[Form] = &[
    form(
        "skopeo",
        "skopeo",
        LAYOUT,
        &[
            "skopeo copy --src-tls-verify=false --src-creds OWNER docker://HOST/base:v1 dir:/tmp/base",
        ],
        &[
            "skopeo copy --dest-tls-verify=false --dest-creds LOGIN oci:/tmp/layout:v1 docker://NAME",
        ],
    ),
    form(
        "ctr",
        "ctr",
        LAYOUT,
        &[
            "ctr content fetch --plain-http --user OWNER HOST/base:v1",
            "skopeo copy oci:/tmp/layout:v1 oci-archive:/tmp/named.tar:NAME",
            "ctr images import /tmp/named.tar",
        ],
        &["ctr images push --plain-http --user LOGIN NAME"],
    )
    .beside(Daemon::Containerd),
    form(
        "docker",
        "dockerd",
        CONTEXT,
        &[OWNERS_LOGIN, OWNERS_PULL, DOCKER_BUILD, DOCKER_LOGIN],
        DOCKER_PUSH,
    )
    .beside(Daemon::Docker),
    form(
        "classic docker",
        "dockerd",
        CONTEXT,
        &[OWNERS_LOGIN, OWNERS_PULL, DOCKER_BUILD, DOCKER_LOGIN],
        DOCKER_PUSH,
    )
    .beside(Daemon::ClassicDocker),
    form(
        "podman",
        "podman",
        CONTEXT,
        &[
            "podman --storage-driver vfs build --isolation chroot --tls-verify=false \
             --creds OWNER --tag NAME /tmp/context",
        ],
        &["podman --storage-driver vfs push --tls-verify=false --creds LOGIN NAME"],
    ),
    form(
        "buildah",
        "buildah",
        CONTEXT,
        &[
            "buildah --storage-driver vfs build --isolation chroot --tls-verify=false \
             --creds OWNER --tag NAME /tmp/context",
        ],
        &["buildah --storage-driver vfs push --tls-verify=false --creds LOGIN NAME"],
    ),
];

/// These read from the source during the push.
const COPIES: &[Form] = &[
    form(
        "oras copy",
        "oras",
        Given::Nothing,
        &[],
        &[
            "oras copy --from-plain-http --from-username alice --from-password right \
             --to-plain-http --to-username USER --to-password right HOST/base:v1 NAME",
        ],
    ),
    form(
        "crane copy",
        "crane",
        Given::Nothing,
        &["crane auth login HOST --username USER --password right"],
        &["crane copy --insecure HOST/base:v1 NAME"],
    ),
];

fn push(scene: &Scene, number: usize, form: &Form, login: &str) -> u64 {
    let target = Target {
        port: scene.sidecar.port,
        repository: &format!("team/app{number}"),
        login,
        authority: None,
    };
    let push = Push::prepare(scene, form, target);
    let sent = push.run_counted();
    push.pull_back();
    sent
}

/// Without discovery: the name alone leads to the layers.
fn a_named_source_is_mounted(logins: Logins) {
    if !can_run() {
        return;
    }
    let scene = Scene::with(logins, |_| ());
    for (number, form) in installed(FORMS).chain(installed(COPIES)).enumerate() {
        let before = scene.sidecar.mounted();
        let sent = push(&scene, number, form, OWNER);
        let mounted = scene.sidecar.mounted() - before;
        let mounts = scene.sidecar.all_mounts();
        assert!(mounted >= 3, "{}: {mounted} mounted: {mounts:?}", form.name);
        let own = OWN as u64;
        assert!(sent < own + 100_000, "{}: {sent} bytes", form.name);
    }
}

#[test]
fn with_passwords_a_named_source_is_mounted() {
    a_named_source_is_mounted(Logins::Passwords);
}

#[test]
fn with_tokens_a_named_source_is_mounted() {
    a_named_source_is_mounted(Logins::Tokens);
}

#[test]
fn from_a_denied_source_nothing_is_linked_and_each_push_uploads() {
    if !can_run() {
        return;
    }
    let scene = Scene::with(Logins::Tokens, |config| {
        config["discovery"] = json!({"enabled": true, "on_head": true, "sources": "namespace"});
    });
    // No COPIES: crane has one login for source and target. oras may have two, asks without one
    // first, and ends at the second 401, also without crossmount.
    for (number, form) in installed(FORMS).enumerate() {
        // A namespace of its own: what was pushed before must not be found.
        let repository = format!("org{number}/app");
        let target = Target {
            port: scene.sidecar.port,
            repository: &repository,
            login: STRANGER,
            authority: None,
        };
        let push = Push::prepare(&scene, form, target);
        let sent = push.run_counted();
        push.pull_back();
        assert!(sent > 6_000_000, "{}: {sent} bytes", form.name);
        let mounts = scene.sidecar.all_mounts();
        assert_eq!(scene.sidecar.mounted(), 0, "{}: {mounts:?}", form.name);
    }
}
