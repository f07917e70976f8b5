//! Real clients in front of a real Pulp, tokens and all.

use crate::{needs, support};
use support::client_programs::{Ctr, Skopeo, Storage, at};
use support::image::Image;
use support::pulp::{self, ADMIN, Pulp, fresh};
use support::tools;

fn login(pulp: &Pulp) -> String {
    format!("{ADMIN}:{}", pulp.password())
}

/// How many blobs were uploaded into a repository, the configuration included.
fn uploads(pulp: &Pulp, repository: &str) -> usize {
    pulp.answered(&format!("\"PUT /v2/{repository}/blobs/"))
        .len()
}

fn is_whole(pulp: &Pulp, repository: &str, image: &Image) {
    let client = pulp.pushing(pulp.port, ADMIN, repository);
    for blob in image.blobs() {
        assert_eq!(pulp.pull(&client, repository, &blob.digest), blob.bytes);
    }
}

#[test]
fn skopeo_copies_between_two_repositories_and_sends_no_layer() {
    needs!("skopeo");
    let Some(pulp) = pulp::start() else { return };
    let front = pulp.front();
    let target = fresh("skopeodst");
    let image = Image::of(&[&fresh("a"), &fresh("b")], 50_000);
    let skopeo = Skopeo::new();
    let (layout, login) = (skopeo.layout(&image, "layout"), login(pulp));
    let copy = |from: &str, to: &str, options: &[&str]| {
        let mut command = skopeo.command();
        command.args(["copy", "--dest-tls-verify=false", "--dest-creds", &login]);
        tools::run(command.args(options).args([from, to]));
    };
    let source = at(front.port, &format!("{}:v1", fresh("skopeosrc")));
    copy(&layout, &source, &[]);
    let options = ["--src-tls-verify=false", "--src-creds", &login];
    copy(&source, &at(front.port, &format!("{target}:v1")), &options);
    assert!(uploads(pulp, &target) <= 1);
    is_whole(pulp, &target, &image);
}

#[test]
fn skopeo_pushes_an_image_whose_layers_another_repository_holds() {
    needs!("skopeo");
    let Some(pulp) = pulp::start() else { return };
    let front = pulp.front();
    let (base, app) = (fresh("skopeobase"), fresh("skopeoapp"));
    let (one, two) = (fresh("one"), fresh("two"));
    let first = Image::of(&[&one, &two], 50_000);
    let second = Image::of(&[&one, &two, &fresh("own")], 50_000);
    let skopeo = Skopeo::new();
    for (image, name, repository) in [(&first, "base", &base), (&second, "app", &app)] {
        let layout = skopeo.layout(image, name);
        tools::run(
            skopeo
                .command()
                .args(["copy", "--dest-tls-verify=false"])
                .args(["--dest-creds", &login(pulp), &layout])
                .arg(at(front.port, &format!("{repository}:v1"))),
        );
    }
    // Its own layer and the configuration.
    assert_eq!(uploads(pulp, &app), 2);
    is_whole(pulp, &app, &second);
}

#[test]
fn podman_pushes_an_image_whose_layers_another_repository_holds() {
    needs!("podman");
    if !tools::is_root() {
        return tools::skip("podman needs root or a prepared user namespace");
    }
    let Some(pulp) = pulp::start() else { return };
    let front = pulp.front();
    let (one, two) = (fresh("podmanone"), fresh("podmantwo"));
    let image = Image::of(&[&fresh("a"), &fresh("b")], 20_000);
    let origin = fresh("podmanorigin");
    image.push(&pulp.pushing(pulp.port, ADMIN, &origin), &origin, "v1");
    let podman = Storage::new("podman");
    let policy = podman.folder("policy.json");
    let policy = format!("--signature-policy={}", policy.display());
    let creds = format!("--creds={}", login(pulp));
    let plain = "--tls-verify=false";
    let source = at(front.port, &format!("{origin}:v1"));
    let id = podman.run(&["pull", &policy, "--quiet", plain, &creds, &source]);
    for target in [&one, &two] {
        let target = at(front.port, &format!("{target}:v1"));
        podman.run(&["push", &policy, "--quiet", plain, &creds, &id, &target]);
    }
    // podman compresses anew for the first push, and mounts what that has left behind.
    assert!(uploads(pulp, &two) <= 1, "{}", uploads(pulp, &two));
    let fresh_one = Storage::new("podman");
    let source = at(front.port, &format!("{two}:v1"));
    let again = fresh_one.run(&["pull", &policy, "--quiet", plain, &creds, &source]);
    assert_eq!(again, id);
}

#[test]
fn ctr_pushes_with_a_source_that_pulp_does_not_know() {
    needs!("containerd", "ctr");
    if !tools::is_root() {
        return tools::skip("containerd needs root");
    }
    let Some(pulp) = pulp::start() else { return };
    let front = pulp.front();
    let origin = fresh("ctrorigin");
    let image = Image::of(&[&fresh("a"), &fresh("b")], 20_000);
    image.push(&pulp.pushing(pulp.port, ADMIN, &origin), &origin, "v1");
    let ctr = Ctr::start();
    let login = login(pulp);
    let user = ["--plain-http", "--user", &login];
    let fetched = format!("127.0.0.1:{}/{origin}:v1", front.port);
    ctr.run(&[&["content", "fetch"][..], &user, &[&fetched]].concat());
    let push = |port: u16, target: &str| {
        let gone = fresh("gone");
        for blob in image.blobs() {
            let label = format!("containerd.io/distribution.source.127.0.0.1={gone}");
            ctr.run(&["content", "label", &blob.digest, &label]);
        }
        let name = format!("127.0.0.1:{port}/{target}:v1");
        ctr.run(&["images", "tag", &fetched, &name]);
        ctr.try_run(&[&["images", "push"][..], &user, &[&name]].concat())
    };
    let (direct, through) = (fresh("ctrdirect"), fresh("ctrthrough"));
    let output = push(pulp.port, &direct);
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("404"), "{said}");
    let output = push(front.port, &through);
    assert!(output.status.success(), "{output:?}");
    is_whole(pulp, &through, &image);
}
