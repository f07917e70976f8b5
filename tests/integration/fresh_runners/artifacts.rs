//! Artifacts that are no images, and layers that are compressed by zstd.

use super::forms::{Daemon, Form, Given};
use super::push::{Push, Target};
use super::scene::{Logins, OWN, OWNER, Scene, discovery};
use crate::support::archive::Compression;
use crate::support::bytes_from;
use crate::support::fresh_runner::{can_run, has};
use serde_json::Value;
use std::fs;

/// A runner whose lines are the tests' own.
fn prepare<'a>(scene: &'a Scene, form: &'a Form, repository: &'a str) -> Push<'a> {
    let target = Target {
        port: scene.sidecar.port,
        repository,
        login: OWNER,
        authority: None,
    };
    Push::prepare(scene, form, target)
}

const fn idle(given: Given) -> Form {
    Form {
        name: "",
        program: "",
        given,
        daemon: Daemon::None,
        prepare: &[],
        push: &[],
    }
}

const SHARED: usize = 2_000_000;

#[test]
fn an_artifact_and_its_referrers_send_only_what_is_new() {
    if !can_run() {
        return;
    }
    let (scene, form) = (
        Scene::with(Logins::Passwords, discovery),
        idle(Given::Nothing),
    );
    let write = |push: &Push, name: &str, bytes: &[u8]| {
        fs::write(push.runner.folder().join(name), bytes).unwrap();
    };
    let (model, card) = (bytes_from("a model", SHARED), bytes_from("a card", OWN));
    let first = prepare(&scene, &form, "base");
    write(&first, "model.bin", &model);
    first.run(&[
        ORAS_LOGIN,
        "oras push --plain-http --artifact-type test/model NAME-model model.bin",
    ]);

    let second = prepare(&scene, &form, "team/model");
    write(&second, "model.bin", &model);
    write(&second, "card.bin", &card);
    write(&second, "signature.bin", b"a signature");
    second.run(&[ORAS_LOGIN]);
    let own = OWN as u64;
    let sent = scene.count(|| {
        second.run(&["oras push --plain-http --artifact-type test/model NAME model.bin card.bin"]);
    });
    assert!(sent > own && sent < own + 100_000, "{sent}");
    let manifest = second.say("oras manifest fetch --plain-http NAME");
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let empty = "application/vnd.oci.empty.v1+json";
    assert_eq!(manifest["config"]["mediaType"], empty, "{manifest}");
    let attach = "oras attach --plain-http --artifact-type test/signature NAME signature.bin";
    let sent = scene.count(|| second.run(&[attach]));
    assert!(sent < 100_000, "{sent}");

    // With its referrers, under another name, by a runner that holds none of it.
    let third = prepare(&scene, &form, "team/copy");
    let all = "oras copy --recursive --from-plain-http --to-plain-http HOST/team/model:v1 NAME";
    third.run(&[ORAS_LOGIN]);
    let sent = scene.count(|| third.run(&[all]));
    assert!(sent < 100_000, "{sent}");
    let referrers = third.say("oras discover --plain-http --format json NAME");
    let referrers: Value = serde_json::from_str(&referrers).unwrap();
    assert!(
        referrers.to_string().contains("test/signature"),
        "{referrers}"
    );
    third.run(&["oras pull --plain-http --output /tmp/pulled NAME"]);
    let pulled = |name: &str| fs::read(third.runner.folder().join("pulled").join(name)).unwrap();
    assert!(pulled("model.bin") == model && pulled("card.bin") == card);

    // skopeo does not name the source, and no shared repository holds the card.
    for (program, new, line) in COPIES_OF_ARTIFACTS {
        if has(program) {
            let repository = format!("team/by-{program}");
            let copy = prepare(&scene, &form, &repository);
            let sent = scene.count(|| copy.run(line));
            assert!(sent < new + 100_000, "{program}: {sent}");
        }
    }
}

const COPIES_OF_ARTIFACTS: &[(&str, u64, &[&str])] = &[
    (
        "skopeo",
        OWN as u64,
        &[
            "skopeo copy --src-tls-verify=false --dest-tls-verify=false --src-creds LOGIN \
             --dest-creds LOGIN docker://HOST/team/model:v1 docker://NAME",
        ],
    ),
    (
        "crane",
        0,
        &[
            "crane auth login HOST --username USER --password right",
            "crane copy --insecure HOST/team/model:v1 NAME",
        ],
    ),
];

const ORAS_LOGIN: &str = "oras login --plain-http --username USER --password right HOST";

/// The types of an image's layers in the registry.
fn layer_types(push: &Push) -> Vec<String> {
    let manifest = push.say("skopeo inspect --raw --tls-verify=false --creds LOGIN docker://NAME");
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    let layers = layers.map(|layer| layer["mediaType"].as_str().unwrap().to_owned());
    layers.collect()
}

const FORCED: &str = "--dest-force-compress-format";

/// As docs/src/how-to/discovery.md says.
#[test]
fn skopeo_keeps_gzip_layers_that_are_found_unless_zstd_is_forced() {
    if !can_run() {
        return;
    }
    let scene = Scene::with(Logins::Passwords, discovery);
    let form = idle(Given::Layout(Compression::Gzip));
    let (gzip, zstd) = (
        Compression::Gzip.layer_type(),
        Compression::Zstd.layer_type(),
    );
    let zstd_wanted = "skopeo copy --dest-tls-verify=false --dest-creds LOGIN \
                       --dest-compress-format zstd oci:/tmp/layout:v1 docker://NAME";
    let push = prepare(&scene, &form, "team/kept");
    push.run(&[zstd_wanted]);
    push.pull_back();
    assert_eq!(layer_types(&push)[..3], [gzip; 3]);
    // skopeo 1.18 cannot be forced.
    if !push.say("skopeo copy --help").contains(FORCED) {
        return;
    }
    let push = prepare(&scene, &form, "team/forced");
    let sent = scene.count(|| push.run(&[&format!("{zstd_wanted} {FORCED}")]));
    assert!(sent > 6_000_000, "{sent}");
    push.pull_back();
    assert_eq!(layer_types(&push), [zstd; 4]);
}
