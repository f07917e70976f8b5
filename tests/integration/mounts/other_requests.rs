//! Everything that is no mount: the answer is the registry's own.

use crate::{needs, support};
use std::fs;
use support::compare::{Differences, essence, send_raw};
use support::image::Image;
use support::raw_http::{self, Request};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::store::Store;

const BLOB: &[u8] = b"a blob in a registry that comes and goes";

#[test]
fn all_other_requests_are_answered_as_by_the_registry() {
    needs!("docker-registry");
    let registry = Registry::start();
    let image = Image::of(&["one", "two"], 100_000);
    image.push(&registry.client(), "some/image", "v1");
    image.push(&registry.client(), "some/image", "v2");
    image.push(&registry.client(), "other", "latest");
    let sidecar = Sidecar::start(&registry);
    let layer = &image.layers[0].digest;
    let manifest = &image.manifest.digest;
    let accept = format!("Accept: {}", support::image::MANIFEST_TYPE);
    let mut differences = Differences::default();
    for (method, target, header) in [
        ("GET", "/v2/", ""),
        ("HEAD", "/v2/", ""),
        ("GET", "/", ""),
        ("GET", "/v2", ""),
        ("GET", "/nothing/here?x=%zz&y=1", ""),
        ("GET", "/v2/_catalog", ""),
        ("GET", "/v2/_catalog?n=1", ""),
        ("GET", "/v2/_catalog?n=1&last=other", ""),
        ("GET", "/v2/some/image/tags/list", ""),
        ("GET", "/v2/some/image/tags/list?n=1", ""),
        ("GET", "/v2/no/such/tags/list", ""),
        ("GET", "/v2/some/image/manifests/v1", &accept),
        ("HEAD", "/v2/some/image/manifests/v1", &accept),
        ("GET", "/v2/some/image/manifests/v1", ""),
        ("GET", "/v2/some/image/manifests/nope", &accept),
        (
            "GET",
            &format!("/v2/some/image/manifests/{manifest}"),
            &accept,
        ),
        (
            "GET",
            "/v2/some/image/manifests/v1",
            &format!("If-None-Match: \"{manifest}\""),
        ),
        ("GET", &format!("/v2/some/image/blobs/{layer}"), ""),
        (
            "GET",
            &format!("/v2/some/image/blobs/{layer}"),
            "Accept-Encoding: gzip",
        ),
        ("HEAD", &format!("/v2/some/image/blobs/{layer}"), ""),
        ("GET", &format!("/v2/no/such/blobs/{layer}"), ""),
        (
            "GET",
            &format!("/v2/some/image/blobs/{layer}"),
            "Range: bytes=10-99",
        ),
        (
            "GET",
            &format!("/v2/some/image/blobs/{layer}"),
            "Range: bytes=-7",
        ),
        (
            "GET",
            &format!("/v2/some/image/blobs/{layer}"),
            "Range: bytes=50000-",
        ),
        (
            "GET",
            &format!("/v2/some/image/blobs/{layer}"),
            &format!("If-None-Match: \"{layer}\""),
        ),
        ("OPTIONS", "/v2/", ""),
        ("DELETE", "/v2/some/image/manifests/nope", ""),
        ("DELETE", &format!("/v2/no/such/blobs/{layer}"), ""),
        ("GET", "/v2/some/image/blobs/uploads/nope", ""),
        ("DELETE", "/v2/some/image/blobs/uploads/nope", ""),
    ] {
        let header = if header.is_empty() {
            String::new()
        } else {
            format!("{header}\r\n")
        };
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: registry.test:5000\r\n{header}\r\n");
        let ask = |port| send_raw(port, request.as_bytes());
        let (theirs, ours) = (ask(registry.port), ask(sidecar.port));
        differences.compare(&request, &essence(&theirs), &essence(&ours));
        differences.compare(&request, &theirs.body.len(), &ours.body.len());
    }
    differences.assert_none();
}

#[test]
fn a_range_outside_the_blob_is_refused_as_by_the_registry() {
    needs!("docker-registry");
    let registry = Registry::start();
    let digest = registry.client().upload("a", BLOB);
    let sidecar = Sidecar::start(&registry);
    // The registry promises the whole blob's length here and sends less: only heads compare.
    let ask = |port| {
        let request = Request::new("GET", &format!("/v2/a/blobs/{digest}"))
            .header("Host", "registry.test")
            .header("Range", "bytes=99999999-");
        let mut connection = raw_http::Connection::to(port).unwrap();
        connection.write(&request.bytes(port)).unwrap();
        connection.head().unwrap()
    };
    let theirs = ask(registry.port);
    assert_eq!(theirs.status, 416);
    assert_eq!(essence(&theirs), essence(&ask(sidecar.port)));
}

#[test]
fn writes_and_deletes_are_answered_as_by_the_registry() {
    needs!("docker-registry");
    let (alone, behind) = (Registry::start(), Registry::start());
    let sidecar = Sidecar::start(&behind);
    let image = Image::of(&["one"], 1000);
    let (layer, manifest) = (&image.layers[0].digest, &image.manifest.digest);
    let mut differences = Differences::default();
    for port in [alone.port, sidecar.port] {
        for blob in image.blobs() {
            support::registry_client::Client::new(port).upload("some/image", &blob.bytes);
        }
    }
    let put = |target: &str, body: &[u8]| {
        Request::new("PUT", target)
            .header("Content-Type", support::image::MANIFEST_TYPE)
            .body(body)
    };
    let delete = |target: &str| Request::new("DELETE", target);
    for request in [
        put("/v2/some/image/manifests/v1", &image.manifest.bytes),
        put("/v2/some/image/manifests/v1", b"{}"),
        put("/v2/some/image/manifests/v1", b"no JSON"),
        put("/v2/other/manifests/v1", &image.manifest.bytes),
        put("/v2/some/image/blobs/uploads/nope?digest=x", b""),
        Request::new("GET", "/v2/some/image/tags/list"),
        delete("/v2/some/image/manifests/v1"),
        delete(&format!("/v2/some/image/manifests/{manifest}")),
        delete(&format!("/v2/some/image/manifests/{manifest}")),
        delete(&format!("/v2/some/image/blobs/{layer}")),
        delete(&format!("/v2/some/image/blobs/{layer}")),
        Request::new("GET", &format!("/v2/some/image/blobs/{layer}")),
        Request::new("GET", "/v2/some/image/tags/list"),
        Request::new("GET", "/v2/_catalog"),
    ] {
        let request = request.header("Host", "registry.test");
        let (theirs, ours) = (request.send(alone.port), request.send(sidecar.port));
        differences.compare(&format!("{request:?}"), &essence(&theirs), &essence(&ours));
    }
    differences.assert_none();
    assert_eq!(
        fs::metadata(Store::new(&alone.store.root).data(layer))
            .unwrap()
            .len(),
        fs::metadata(behind.store.data(layer)).unwrap().len()
    );
}

#[test]
fn what_the_registry_deleted_is_not_mounted() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let digest = client.upload("a", BLOB);
    client.mount("b", &digest, "a").expect(201);
    let deletion = client.request("DELETE", &format!("/v2/a/blobs/{digest}"));
    deletion.send(client.port).expect(202);
    client.mount("c", &digest, "a").expect(202);
    assert_eq!(sidecar.mounts("forwarded", "source_missing"), 1);
    client.mount("c", &digest, "b").expect(201);
    assert_eq!(sidecar.mounted(), 2);
}
