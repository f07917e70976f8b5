//! Pulp's own mount: asked in the form that it takes, its misses mended.

use crate::support;
use support::bytes_from;
use support::image::Image;
use support::pulp::{self, ADMIN, Pulp, fresh, settled};
use support::raw_http::Answer;
use support::registry_client::{Client, encoded};
use support::sidecar::Sidecar;

/// An image of two layers in a repository of its own, as Pulp holds it after a push.
fn pushed(pulp: &Pulp) -> (String, Image) {
    let repository = format!("{}/src", fresh("team"));
    let seed = fresh("layer");
    let image = Image::of(&[&seed, &(seed.clone() + "b")], 2000);
    image.push(
        &pulp.pushing(pulp.port, ADMIN, &repository),
        &repository,
        "v1",
    );
    (repository, image)
}

fn post(client: &Client, target: &str, query: &str) -> Answer {
    client
        .request("POST", &format!("/v2/{target}/blobs/uploads/?{query}"))
        .send(client.port)
}

/// The blob is Pulp's, and can be pulled from the target.
fn is_there(pulp: &Pulp, client: &Client, target: &str, digest: &str, bytes: &[u8]) {
    client.head_blob(target, digest).expect(302);
    assert_eq!(pulp.pull(client, target, digest), bytes);
}

fn case(change: impl FnOnce(&mut serde_json::Value)) -> Option<(&'static Pulp, Sidecar)> {
    let pulp = pulp::start()?;
    Some((pulp, pulp.sidecar(change)))
}

#[test]
fn every_clients_mount_reaches_pulp_in_the_form_that_it_takes() {
    let Some((pulp, sidecar)) = case(|_| ()) else {
        return;
    };
    let (source, image) = pushed(pulp);
    let digest = &image.layers[0].digest;
    let (from, mount) = (encoded(&source), encoded(digest));
    let bare = format!("?from={from}&mount=");
    for query in [
        format!("from={from}&mount={mount}"),
        format!("from={from}&mount={mount}&origin=127.0.0.1%3A5000"),
        format!("mount={digest}&from={source}"),
        format!("ns=docker.io&mount={digest}&from={source}"),
        format!("%6dount={mount}&fr%6fm={from}&x=1&y"),
    ] {
        let target = format!("{}/app", fresh("team"));
        let client = pulp.mounting(sidecar.port, ADMIN, &target, &source);
        let answer = post(&client, &target, &query).expect(201);
        assert_eq!(answer.header("Docker-Content-Digest"), Some(&**digest));
        let location = format!("/v2/{target}/blobs/{digest}");
        assert_eq!(answer.header("Location"), Some(&*location));
        is_there(pulp, &client, &target, digest, &image.layers[0].bytes);
        let asked = || pulp.answered(&format!("POST /v2/{target}/blobs/uploads/{bare}"));
        settled(|| asked().len(), 1);
    }
    assert_eq!(sidecar.mounts("native", "none"), 5);
}

#[test]
fn pulp_itself_ignores_what_other_clients_add() {
    let Some(pulp) = pulp::start() else { return };
    let (source, image) = pushed(pulp);
    let digest = &image.layers[0].digest;
    let target = format!("{}/app", fresh("team"));
    let client = pulp.mounting(pulp.port, ADMIN, &target, &source);
    let query = format!("mount={digest}&from={source}&origin=h");
    post(&client, &target, &query).expect(202);
    client.head_blob(&target, digest).expect(404);
}

#[test]
fn a_miss_becomes_the_upload_that_the_specification_wants() {
    let Some((pulp, sidecar)) = case(|_| ()) else {
        return;
    };
    let (source, image) = pushed(pulp);
    let absent = support::digest_of(fresh("absent").as_bytes());
    let nowhere = format!("{}/nowhere", fresh("team"));
    let upper = image.layers[0].digest.to_uppercase().replace("SHA", "sha");
    for (source, digest) in [
        (&source, &absent),
        (&nowhere, &image.layers[0].digest),
        (&nowhere, &absent),
        (&source, &upper),
    ] {
        let target = format!("{}/app", fresh("team"));
        let direct = pulp.mounting(pulp.port, ADMIN, &target, source);
        direct.mount(&target, digest, source).expect(404);
        let client = pulp.mounting(sidecar.port, ADMIN, &target, source);
        let opened = client.mount(&target, digest, source).expect(202);
        assert!(opened.header("Docker-Upload-UUID").is_some());
        let bytes = bytes_from(&target, 3000);
        client.finish(&opened, &bytes).expect(201);
        let digest = support::digest_of(&bytes);
        is_there(pulp, &client, &target, &digest, &bytes);
    }
    assert_eq!(sidecar.mounts("forwarded", "mended"), 4);
}

#[test]
fn the_plain_upload_has_the_clients_other_parameters_and_no_mount() {
    let Some((pulp, sidecar)) = case(|_| ()) else {
        return;
    };
    let (target, source) = (fresh("team"), fresh("nowhere"));
    let digest = support::digest_of(b"absent");
    let client = pulp.mounting(sidecar.port, ADMIN, &target, &source);
    let query = format!("mount={digest}&origin=a%3ab&from={source}");
    post(&client, &target, &query).expect(202);
    let plain = format!("POST /v2/{target}/blobs/uploads/?origin=a%3ab ");
    settled(|| pulp.answered(&plain).len(), 1);
    let all = format!("POST /v2/{target}/blobs/uploads/");
    assert_eq!(pulp.answered(&all).len(), 2);
}

#[test]
fn a_mount_without_from_and_an_upload_beside_a_mount_go_on_as_they_came() {
    let Some((pulp, sidecar)) = case(|_| ()) else {
        return;
    };
    let (source, image) = pushed(pulp);
    let digest = &image.layers[0].digest;
    let target = format!("{}/app", fresh("team"));
    let client = pulp.mounting(sidecar.port, ADMIN, &target, &source);
    post(&client, &target, &format!("mount={digest}&ns=x")).expect(202);
    let bytes = bytes_from(&target, 500);
    let own = support::digest_of(&bytes);
    let query = format!("mount={digest}&from={source}&digest={own}");
    client
        .request("POST", &format!("/v2/{target}/blobs/uploads/?{query}"))
        .body(&bytes)
        .send(client.port)
        .expect(201);
    is_there(pulp, &client, &target, &own, &bytes);
    let asked = |query: &str| {
        pulp.answered(&format!("POST /v2/{target}/blobs/uploads/?{query} "))
            .len()
    };
    settled(|| asked(&format!("mount={digest}&ns=x")), 1);
    settled(|| asked(&query), 1);
    assert_eq!(sidecar.mounts_with_reason("source_missing"), 1);
    assert_eq!(sidecar.mounts_with_reason("odd_request"), 1);
}

#[test]
fn pulp_gets_the_clients_own_host_for_which_its_token_was_made() {
    let Some((pulp, sidecar)) = case(|_| ()) else {
        return;
    };
    let (source, image) = pushed(pulp);
    let target = format!("{}/app", fresh("team"));
    // For this port; for Pulp's own it is refused.
    let client = pulp.mounting(sidecar.port, ADMIN, &target, &source);
    client
        .mount(&target, &image.layers[0].digest, &source)
        .expect(201);
    let elsewhere = pulp.mounting(pulp.port, ADMIN, &target, &source);
    let refused = elsewhere.at(sidecar.port);
    let refused = refused.mount(&target, &image.layers[0].digest, &source);
    let service = format!("service=\"127.0.0.1:{}\"", sidecar.port);
    let challenge = refused.expect(401);
    let challenge = challenge.header("WWW-Authenticate").unwrap();
    assert!(challenge.contains(&service), "{challenge}");
}
