//! Eight runners that push the same new base at once, while HEADs may wait for uploads.

use super::forms::{DOCKER_PUSH, Daemon, Form, Given, KNOWN, form};
use super::push::{Push, Target};
use super::scene::{LAYER, OWN, OWNER, Scene};
use crate::support::fresh_runner::can_run;
use serde_json::json;
use std::thread;

const RUNNERS: u64 = 8;

/// A registry that does not hold the base yet, and HEADs that may wait.
fn waiting() -> Scene {
    Scene::without_base(|config| {
        config["discovery"] = json!({
            "enabled": true, "on_head": true, "sources": "any", "wait_for_uploads": "50s",
        });
    })
}

/// All of them pass, and what they have in common is uploaded once.
fn upload_a_new_base_once(scene: &Scene, name: &str) {
    let form: &Form = KNOWN.iter().find(|form| form.name == name).unwrap();
    let targets: Vec<_> = (0..RUNNERS)
        .map(|number| format!("team/app{number}"))
        .collect();
    let pushes: Vec<_> = targets
        .iter()
        .map(|repository| {
            let target = Target {
                port: scene.sidecar.port,
                repository,
                login: OWNER,
                authority: None,
            };
            Push::prepare(scene, form, target)
        })
        .collect();
    let sent = scene.count(|| {
        thread::scope(|scope| {
            for push in &pushes {
                scope.spawn(|| push.run_it());
            }
        });
    });
    let unique = 3 * LAYER as u64 + RUNNERS * OWN as u64;
    let line = format!("eight times {name}: {sent} bytes sent, {unique} are unique\n");
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    assert!(
        sent * 100 <= unique * 105,
        "{line}{:?}",
        ["linked", "released", "timed_out", "abandoned"].map(|result| {
            let labels = [("result", result)];
            let name = "crossmount_held_requests_total";
            (result, scene.sidecar.metric(name, &labels))
        })
    );
    for push in &pushes {
        push.pull_back();
    }
}

#[test]
fn eight_skopeos_upload_a_new_base_once() {
    if can_run() {
        upload_a_new_base_once(&waiting(), "skopeo");
    }
}

#[test]
fn eight_ctrs_upload_a_new_base_once() {
    if can_run() {
        upload_a_new_base_once(&waiting(), "`ctr`");
    }
}

#[test]
fn eight_dockers_upload_a_new_base_once() {
    if can_run() {
        let name = "`docker load` (containerd store)";
        upload_a_new_base_once(&waiting(), name);
    }
}

/// Docker with its classic store compresses a pulled layer anew, and uploads what comes out. That
/// is what it asked for only if a Docker compressed the layer.
#[test]
fn eight_classic_dockers_upload_a_new_base_of_dockers_once() {
    if !can_run() {
        return;
    }
    let scene = waiting();
    let target = Target {
        port: scene.elsewhere.port,
        repository: "base",
        login: OWNER,
        authority: None,
    };
    Push::prepare(&scene, &BASE_BY_DOCKER, target).run_it();
    upload_a_new_base_once(&scene, "`docker build` (classic store)");
}

/// Replaces the base image in the other registry.
const BASE_BY_DOCKER: Form = form(
    "classic docker",
    "dockerd",
    Given::BaseLayout,
    &[
        "skopeo copy oci:/tmp/layout:v1 docker-archive:/tmp/docker.tar:NAME",
        "docker load --input /tmp/docker.tar",
    ],
    DOCKER_PUSH,
)
.beside(Daemon::ClassicDocker);
