//! Eight runners that push the same new base at once, while HEADs may wait for uploads.

use super::forms::{
    DOCKER_ARCHIVE, DOCKER_LOAD, DOCKER_LOGIN, DOCKER_PUSH, Daemon, Form, Given, KNOWN,
    PODMAN_LOAD, PODMAN_PUSH, form,
};
use super::push::{Push, Target};
use super::scene::{LAYER, OWN, OWNER, Scene};
use crate::support::fresh_runner::{can_run, has};
use serde_json::json;
use std::thread;

const RUNNERS: u64 = 8;
const BASE: u64 = 3 * LAYER as u64;

/// A registry that does not hold the base yet, and HEADs that may wait.
fn waiting() -> Scene {
    Scene::without_base(|config| {
        config["discovery"] = json!({
            "enabled": true, "on_head": true, "sources": "any", "wait_for_uploads": "50s",
        });
    })
}

/// The bytes that reach the registry while eight runners push. Each push passes, and each image is
/// pulled back.
fn push_at_once(scene: &Scene, form: &Form) -> u64 {
    let targets: Vec<_> = (0..RUNNERS)
        .map(|number| format!("team/app{number}"))
        .collect();
    let pushes: Vec<_> = targets
        .iter()
        .map(|repository| Push::prepare(scene, form, target(scene.sidecar.port, repository)))
        .collect();
    let sent = scene.count(|| {
        thread::scope(|scope| {
            for push in &pushes {
                scope.spawn(|| push.run_it());
            }
        });
    });
    let line = format!("eight times {}: {sent} bytes\n", form.name);
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    for push in &pushes {
        push.pull_back();
    }
    sent
}

fn target(port: u16, repository: &str) -> Target<'_> {
    Target {
        port,
        repository,
        login: OWNER,
        authority: None,
    }
}

fn named(name: &str) -> &'static Form {
    KNOWN.iter().find(|form| form.name == name).unwrap()
}

#[track_caller]
fn is_at_most_a_twentieth_more(scene: &Scene, sent: u64, unique: u64) {
    let ends = ["linked", "released", "timed_out", "abandoned"].map(|result| {
        let labels = [("result", result)];
        let name = "crossmount_held_requests_total";
        (result, scene.sidecar.metric(name, &labels))
    });
    let twentieth = unique / 20;
    assert!(
        sent <= unique + twentieth,
        "{sent}, unique {unique}: {ends:?}"
    );
}

/// All runners have the base in common, and each has a layer of its own.
fn upload_a_new_base_once(name: &str) {
    let form = named(name);
    if !can_run() || !has(form.program) {
        return;
    }
    let scene = waiting();
    let sent = push_at_once(&scene, form);
    is_at_most_a_twentieth_more(&scene, sent, BASE + RUNNERS * OWN as u64);
}

#[test]
fn eight_skopeos_upload_a_new_base_once() {
    upload_a_new_base_once("skopeo");
}

#[test]
fn eight_ctrs_upload_a_new_base_once() {
    upload_a_new_base_once("`ctr`");
}

#[test]
fn eight_oras_copies_upload_a_new_base_once() {
    upload_a_new_base_once("oras");
}

/// Debian 13 has no crane.
#[test]
fn eight_cranes_upload_a_new_base_once() {
    upload_a_new_base_once("crane");
}

#[test]
fn eight_buildkits_upload_a_new_base_once() {
    upload_a_new_base_once("`docker buildx build --push`");
}

#[test]
fn eight_dockers_upload_a_new_base_once() {
    upload_a_new_base_once("`docker load` (containerd store)");
}

/// Docker with its classic store and podman compress a pulled layer anew. What comes out is what
/// they asked for only if the same program compressed the layer before.
fn waiting_for_a_base_by(builder: &Form) -> Scene {
    let scene = waiting();
    Push::prepare(&scene, builder, target(scene.elsewhere.port, "base")).run_it();
    scene
}

fn upload_a_pulled_image_once(builder: &Form, form: &Form) {
    if can_run() {
        let scene = waiting_for_a_base_by(builder);
        let sent = push_at_once(&scene, form);
        is_at_most_a_twentieth_more(&scene, sent, BASE);
    }
}

#[test]
fn eight_classic_dockers_upload_a_pulled_image_once() {
    upload_a_pulled_image_once(&BASE_BY_DOCKER, &PULLED_BY_DOCKER);
}

#[test]
fn eight_podmans_upload_a_pulled_image_once() {
    upload_a_pulled_image_once(&BASE_BY_PODMAN, &PULLED_BY_PODMAN);
}

/// A layer that it built, a client uploads without a HEAD, or under another digest than it asked
/// for. That upload must not be taken for one of the base's layers.
fn upload_a_base_once_beside_built_layers(builder: &Form, name: &str) {
    if can_run() {
        let scene = waiting_for_a_base_by(builder);
        let sent = push_at_once(&scene, named(name));
        is_at_most_a_twentieth_more(&scene, sent, BASE + RUNNERS * OWN as u64);
    }
}

#[test]
fn eight_classic_dockers_that_build_upload_the_base_once() {
    upload_a_base_once_beside_built_layers(&BASE_BY_DOCKER, "`docker build` (classic store)");
}

#[test]
fn eight_podmans_that_build_upload_the_base_once() {
    upload_a_base_once_beside_built_layers(&BASE_BY_PODMAN, "`podman build`");
}

#[test]
fn eight_buildahs_that_build_upload_the_base_once() {
    upload_a_base_once_beside_built_layers(&BASE_BY_PODMAN, "`buildah build`");
}

/// Replaces the base image in the other registry.
const BASE_BY_DOCKER: Form = form(
    "classic docker",
    "dockerd",
    Given::BaseLayout,
    &[DOCKER_ARCHIVE, DOCKER_LOAD],
    DOCKER_PUSH,
)
.beside(Daemon::ClassicDocker);

const BASE_BY_PODMAN: Form = form(
    "podman",
    "podman",
    Given::BaseLayout,
    PODMAN_LOAD,
    &["podman --storage-driver vfs push --tls-verify=false NAME"],
);

const PULLED_BY_DOCKER: Form = form(
    "`docker pull` and `docker push` (classic store)",
    "dockerd",
    Given::Nothing,
    &[
        "docker pull --quiet ELSEWHERE/base:v1",
        "docker tag ELSEWHERE/base:v1 NAME",
        DOCKER_LOGIN,
    ],
    DOCKER_PUSH,
)
.beside(Daemon::ClassicDocker);

const PULLED_BY_PODMAN: Form = form(
    "`podman pull` and `podman push`",
    "podman",
    Given::Nothing,
    &[
        "podman --storage-driver vfs pull --quiet --tls-verify=false ELSEWHERE/base:v1",
        "podman --storage-driver vfs tag ELSEWHERE/base:v1 NAME",
    ],
    PODMAN_PUSH,
);
