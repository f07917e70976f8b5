//! What crane and regctl send in a push, request by request, with names and digests of the test.

use crate::support;
use support::image::Image;
use support::pulp::{self, ADMIN, fresh, settled};
use support::raw_http::Answer;
use support::registry_client::{Client, encoded};

/// crane as it copies an image within a registry, after it has its tokens.
fn crane(client: &Client, method: &str, target: &str) -> Answer {
    let request = client
        .request(method, target)
        .header("User-Agent", "crane/v0.21.10 go-containerregistry/v0.21.10")
        .header("Accept-Encoding", "gzip");
    let request = match method {
        "POST" => request.header("Content-Type", "application/json"),
        _ => request,
    };
    request.send(client.port)
}

fn regctl(client: &Client, method: &str, target: &str) -> Answer {
    client
        .request(method, target)
        .header("User-Agent", "regclient/regctl (v0.0.0)")
        .header("Accept-Encoding", "gzip")
        .send(client.port)
}

/// How many uploads Pulp has ended in a repository.
fn uploads(pulp: &pulp::Pulp, repository: &str) -> usize {
    pulp.answered(&format!("\"PUT /v2/{repository}/blobs/"))
        .len()
}

/// The manifest types that both clients ask for.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json,\
                         application/vnd.docker.distribution.manifest.v2+json";

#[test]
fn crane_mounts_all_layers_and_the_configuration() {
    let Some(pulp) = pulp::start() else { return };
    let sidecar = pulp.sidecar(|_| ());
    let (source, target) = (fresh("cranesrc"), fresh("cranedst"));
    let image = Image::of(&[&fresh("a"), &fresh("b")], 3000);
    image.push(&pulp.pushing(pulp.port, ADMIN, &source), &source, "v1");
    let pushing = pulp.pushing(sidecar.port, ADMIN, &target);
    let mounting = pulp.mounting(sidecar.port, ADMIN, &target, &source);
    let anonymous = sidecar.client();
    crane(&anonymous, "GET", "/v2/").expect(401);
    let pulling = pulp.pushing(sidecar.port, ADMIN, &source);
    let manifest = pulling.header("Accept", MANIFESTS);
    let manifest = crane(&manifest, "GET", &format!("/v2/{source}/manifests/v1")).expect(200);
    assert_eq!(manifest.body, image.manifest.bytes);
    let asked = pushing.clone().header("Accept", MANIFESTS);
    crane(&asked, "HEAD", &format!("/v2/{target}/manifests/v1")).expect(404);
    let origin = encoded(&format!("127.0.0.1:{}", sidecar.port));
    std::thread::scope(|scope| {
        for blob in image.blobs() {
            let (pushing, mounting, source, target) = (&pushing, &mounting, &source, &target);
            let origin = &origin;
            scope.spawn(move || {
                let path = format!("/v2/{target}/blobs/{}", blob.digest);
                crane(pushing, "HEAD", &path).expect(404);
                let (from, mount) = (encoded(source), encoded(&blob.digest));
                let query = format!("from={from}&mount={mount}&origin={origin}");
                let path = format!("/v2/{target}/blobs/uploads/?{query}");
                // Of several that make a repository at once, Pulp turns some away; crane
                // begins such a push again.
                let mounted = (0..20).any(|_| {
                    let answer = crane(mounting, "POST", &path);
                    assert!([201, 429, 500].contains(&answer.status), "{answer:?}");
                    answer.status == 201
                });
                assert!(mounted);
            });
        }
    });
    pushing
        .put_manifest(&target, "v1", &image.manifest.bytes)
        .expect(201);
    for blob in image.blobs() {
        assert_eq!(pulp.pull(&pushing, &target, &blob.digest), blob.bytes);
    }
    assert_eq!(uploads(pulp, &target), 0);
    assert_eq!(sidecar.mounts("native", "none"), 3);
    // Pulp itself takes none of them.
    let alone = fresh("cranealone");
    let direct = pulp.mounting(pulp.port, ADMIN, &alone, &source);
    let blob = &image.layers[0];
    let (from, mount) = (encoded(&source), encoded(&blob.digest));
    let query = format!("from={from}&mount={mount}&origin={origin}");
    let path = format!("/v2/{alone}/blobs/uploads/?{query}");
    crane(&direct, "POST", &path).expect(202);
}

#[test]
fn regctl_tries_without_from_uploads_and_then_mounts() {
    let Some(pulp) = pulp::start() else { return };
    let sidecar = pulp.sidecar(|_| ());
    let (one, two) = (fresh("rcone"), fresh("rctwo"));
    let image = Image::of(&[&fresh("a"), &fresh("b")], 3000);
    let pushing = pulp.pushing(sidecar.port, ADMIN, &one);
    let asked = pushing.clone().header("Accept", MANIFESTS);
    regctl(&asked, "HEAD", &format!("/v2/{one}/manifests/v1")).expect(404);
    for blob in image.blobs() {
        regctl(
            &pushing,
            "HEAD",
            &format!("/v2/{one}/blobs/{}", blob.digest),
        )
        .expect(404);
        let path = format!("/v2/{one}/blobs/uploads/?mount={}", encoded(&blob.digest));
        let opened = regctl(&pushing, "POST", &path).expect(202);
        pushing.finish(&opened, &blob.bytes).expect(201);
    }
    pushing
        .put_manifest(&one, "v1", &image.manifest.bytes)
        .expect(201);
    let copying = pulp.mounting(sidecar.port, ADMIN, &two, &one);
    for blob in image.blobs() {
        regctl(
            &copying,
            "HEAD",
            &format!("/v2/{two}/blobs/{}", blob.digest),
        )
        .expect(404);
        let (from, mount) = (encoded(&one), encoded(&blob.digest));
        let path = format!("/v2/{two}/blobs/uploads/?from={from}&mount={mount}");
        regctl(&copying, "POST", &path).expect(201);
    }
    copying
        .put_manifest(&two, "v1", &image.manifest.bytes)
        .expect(201);
    settled(|| uploads(pulp, &one), 3);
    assert_eq!(uploads(pulp, &two), 0);
    assert_eq!(sidecar.mounts("native", "none"), 3);
}
