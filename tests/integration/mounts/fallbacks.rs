//! Mounts that cannot be made: each becomes an upload that works, and is counted with its reason.

use crate::{needs, support};
use std::fs;
use support::raw_http::Answer;
use support::registry::Registry;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::Sidecar;
use support::{bytes_from, digest_of};

/// Mounts are refused by a 202 whose session takes the blob, which then pulls.
#[track_caller]
fn falls_back(registry: &Registry, sidecar: &Sidecar, bytes: &[u8], reason: &str) {
    let client = sidecar.client();
    let digest = digest_of(bytes);
    let before = sidecar.mounts("forwarded", reason);
    // Both before the first upload, which makes the blob whole again.
    let [one, two] = ["target/one", "target/two"].map(|target| {
        let answer = client.mount(target, &digest, "source").expect(202);
        is_a_session(&answer, target);
        answer
    });
    let counted = sidecar.mounts("forwarded", reason) - before;
    assert_eq!(counted, 2, "{:?}", sidecar.all_mounts());
    assert_eq!(sidecar.mounted(), 0);

    client.finish(&one, bytes).expect(201);
    client.finish_in_pieces(&two, bytes, 4000).expect(201);
    for target in ["target/one", "target/two"] {
        assert_eq!(client.pull(target, &digest), bytes);
        assert_eq!(registry.client().pull(target, &digest), bytes);
    }
}

#[track_caller]
fn is_a_session(answer: &Answer, target: &str) {
    let session = answer.header("Docker-Upload-Uuid").expect("a session");
    let path = answer.location_path();
    assert!(
        path.starts_with(&format!("/v2/{target}/blobs/uploads/{session}?_state=")),
        "{path}"
    );
    assert_eq!(answer.header("Docker-Content-Digest"), None);
    assert_eq!(answer.body, b"");
}

fn proved() -> (Registry, Sidecar) {
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    (registry, sidecar)
}

#[test]
fn a_blob_that_is_not_in_the_source_repository_is_uploaded() {
    needs!("docker-registry");
    let (registry, sidecar) = proved();
    let bytes = bytes_from("elsewhere", 10_000);
    sidecar.client().upload("elsewhere", &bytes);
    sidecar.client().upload("source", b"something else");
    falls_back(&registry, &sidecar, &bytes, "source_missing");
}

#[test]
fn a_source_repository_that_does_not_exist_is_an_upload() {
    needs!("docker-registry");
    let (registry, sidecar) = proved();
    falls_back(&registry, &sidecar, b"nowhere", "source_missing");
}

#[test]
fn a_digest_that_no_repository_holds_is_uploaded() {
    needs!("docker-registry");
    let (registry, sidecar) = proved();
    sidecar.client().upload("source", b"something else");
    falls_back(&registry, &sidecar, b"nobody has this", "source_missing");
}

#[test]
fn a_dangling_source_link_is_an_upload() {
    needs!("docker-registry");
    let (registry, sidecar) = proved();
    let bytes = bytes_from("dangling", 10_000);
    let digest = sidecar.client().upload("source", &bytes);
    fs::remove_file(registry.store.data(&digest)).unwrap();
    falls_back(&registry, &sidecar, &bytes, "blob_missing");
}

#[test]
fn a_blob_whose_directory_is_gone_is_an_upload() {
    needs!("docker-registry");
    let (registry, sidecar) = proved();
    let digest = sidecar.client().upload("source", b"no folder");
    fs::remove_dir_all(registry.store.data(&digest).parent().unwrap()).unwrap();
    falls_back(&registry, &sidecar, b"no folder", "blob_missing");
}

#[test]
fn an_empty_data_file_is_an_upload() {
    needs!("docker-registry");
    let (registry, sidecar) = proved();
    let bytes = bytes_from("empty data", 10_000);
    let digest = sidecar.client().upload("source", &bytes);
    fs::write(registry.store.data(&digest), "").unwrap();
    let answer = sidecar
        .client()
        .mount("target", &digest, "source")
        .expect(202);
    is_a_session(&answer, "target");
    assert_eq!(sidecar.mounts("forwarded", "blob_missing"), 1);
    assert_eq!(sidecar.mounted(), 0);
    // The registry takes the bytes, but leaves a data file alone that is there already.
    sidecar.client().finish(&answer, &bytes).expect(201);
    assert_eq!(
        sidecar.client().blob("target", &digest).body,
        registry.client().blob("target", &digest).body
    );
}

#[test]
fn a_source_link_with_other_content_is_an_upload() {
    needs!("docker-registry");
    let bytes = bytes_from("bad link", 10_000);
    let digest = digest_of(&bytes);
    let other = digest_of(b"other");
    for content in [
        String::new(),
        format!("{digest}\n"),
        format!(" {digest}"),
        digest[..70].to_owned(),
        digest.to_uppercase(),
        other,
    ] {
        let (registry, sidecar) = proved();
        sidecar.client().upload("elsewhere", &bytes);
        registry.store.plant_link("source", &digest, &content);
        falls_back(&registry, &sidecar, &bytes, "source_missing");
        let link = fs::read_to_string(registry.store.link("source", &digest)).unwrap();
        assert_eq!(link, content, "a link is never mended from outside");
    }
}

#[test]
fn a_source_link_that_is_a_directory_is_an_upload() {
    needs!("docker-registry");
    let (registry, sidecar) = proved();
    let digest = sidecar.client().upload("elsewhere", b"a folder");
    fs::create_dir_all(registry.store.link("source", &digest)).unwrap();
    let answer = sidecar
        .client()
        .mount("target", &digest, "source")
        .expect(202);
    is_a_session(&answer, "target");
    assert_eq!(sidecar.mounted(), 0);
    sidecar.client().finish(&answer, b"a folder").expect(201);
}

#[test]
fn a_ghost_that_the_registrys_cache_still_vouches_for_is_an_upload() {
    needs!("docker-registry");
    let registry = Registry::with_hot_cache();
    let sidecar = Sidecar::with_verified_store(&registry);
    let bytes = bytes_from("ghost", 10_000);
    let digest = sidecar.client().upload("source", &bytes);
    for client in [sidecar.client(), registry.client()] {
        client.head_blob("source", &digest).expect(200);
    }
    fs::remove_file(registry.store.data(&digest)).unwrap();

    registry
        .client()
        .mount("ghost", &digest, "source")
        .expect(201);
    let answer = sidecar
        .client()
        .mount("target", &digest, "source")
        .expect(202);
    is_a_session(&answer, "target");
    assert_eq!(sidecar.mounts("forwarded", "blob_missing"), 1);
    assert!(!registry.store.link("target", &digest).exists());
    sidecar.client().finish(&answer, &bytes).expect(201);
    assert_eq!(sidecar.client().pull("target", &digest), bytes);
    sidecar
        .client()
        .mount("again", &digest, "source")
        .expect(201);
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn a_ghost_whose_source_link_was_removed_is_an_upload() {
    needs!("docker-registry");
    let registry = Registry::with_hot_cache();
    let sidecar = Sidecar::with_verified_store(&registry);
    let digest = sidecar.client().upload("source", b"unlinked");
    registry.client().head_blob("source", &digest).expect(200);
    fs::remove_file(registry.store.link("source", &digest)).unwrap();

    registry
        .client()
        .mount("ghost", &digest, "source")
        .expect(201);
    let answer = sidecar
        .client()
        .mount("target", &digest, "source")
        .expect(202);
    assert_eq!(sidecar.mounts("forwarded", "source_missing"), 1);
    sidecar.client().finish(&answer, b"unlinked").expect(201);
}

#[test]
fn a_stripped_mount_keeps_every_other_parameter_and_header() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(|_| ());
    let digest = digest_of(b"nobody");
    for (sent, wanted) in [
        (format!("mount={digest}&from=source"), ""),
        (
            format!("ns=a%2Fb&%6dount={digest}&origin=x%3A1&from=source&a%20b=%7e&from2&="),
            "ns=a%2Fb&origin=x%3A1&a%20b=%7e&from2&=",
        ),
        (format!("from=source&x=1&mount={digest}"), "x=1"),
    ] {
        sidecar
            .client()
            .request("POST", &format!("/v2/target/blobs/uploads/?{sent}"))
            .header("X-Of-The-Client", "1")
            .send(sidecar.port)
            .expect(202);
        let heard = registry.heard("POST").pop().unwrap();
        let query = heard.target.strip_prefix("/v2/target/blobs/uploads/");
        let query = query.unwrap().trim_start_matches('?');
        assert_eq!(query, wanted, "of {sent}");
        assert_eq!(heard.header("X-Of-The-Client"), Some("1"));
        let host = format!("127.0.0.1:{}", sidecar.port);
        assert_eq!(heard.header("Host"), Some(&*host));
    }
    assert_eq!(sidecar.mounts("forwarded", "source_missing"), 3);
}
