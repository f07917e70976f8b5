//! Bodies of any size: streamed and never held.

use crate::{needs, support};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use support::generated_body::{MIB, assert_memory_is_flat, digest_of_body, download, send_body};
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, answer, in_front_of};
use support::raw_http::Request;
use support::registry::Registry;
use support::registry_client::closing;
use support::sidecar::Sidecar;
use support::{digest_of, hex};

#[test]
fn a_gibibyte_goes_up_in_chunks_and_comes_down_in_flat_memory() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    let client = sidecar.client();
    let digest = digest_of_body(1024);

    let opened = client.begin("big").expect(202);
    let mut upload = send_body(&sidecar, "PATCH", &opened.location_path(), 1024, true);
    let session = upload.answer("PATCH").unwrap().expect(202);
    assert_eq!(session.header("Range"), Some("0-1073741823"));
    assert_memory_is_flat(&sidecar);
    let put = client.request("PUT", &closing(&session, &digest));
    put.send(client.port).expect(201);

    let get = Request::new("GET", &format!("/v2/big/blobs/{digest}"));
    assert_eq!(download(client.connect(), &get, client.port), digest);
    assert_memory_is_flat(&sidecar);
    // And by the link that the sidecar writes, for the upload has proved the store.
    client.mount("bigger", &digest, "big").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    let tail = client
        .request("GET", &format!("/v2/bigger/blobs/{digest}"))
        .header("Range", "bytes=1073741816-")
        .send(client.port)
        .expect(206);
    assert_eq!(tail.body, (248..=255).collect::<Vec<u8>>());
    assert_eq!(
        tail.header("Content-Range"),
        Some("bytes 1073741816-1073741823/1073741824")
    );
}

#[test]
fn a_client_that_does_not_read_slows_the_registry_down() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    let client = sidecar.client();
    let digest = digest_of_body(256);
    let opened = client.begin("big").expect(202);
    let mut upload = send_body(&sidecar, "PUT", &closing(&opened, &digest), 256, false);
    upload.answer("PUT").unwrap().expect(201);
    assert_memory_is_flat(&sidecar);

    let get = Request::new("GET", &format!("/v2/big/blobs/{digest}"));
    let mut lazy = client.connect();
    lazy.write(&get.bytes(client.port)).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        assert_memory_is_flat(&sidecar);
        client.get("/v2/").expect(200);
        std::thread::sleep(Duration::from_millis(100));
    }
    let head = lazy.head().unwrap();
    let mut hash = Sha256::new();
    lazy.body(&head, |piece| hash.update(piece)).unwrap();
    assert_eq!(format!("sha256:{}", hex(&hash.finalize())), digest);
    assert_memory_is_flat(&sidecar);
}

#[test]
fn a_registry_that_does_not_read_slows_the_client_down() {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let upstream = MisbehavingUpstream::start(move |heard| {
        if heard.method == "PATCH" {
            told.lock().unwrap().recv().unwrap();
        }
        Reply::Answer(answer("202 Accepted", ""))
    });
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    let mut upload = std::thread::scope(|scope| {
        let sending =
            scope.spawn(|| send_body(&sidecar, "PATCH", "/v2/a/blobs/uploads/x", 256, true));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            assert_memory_is_flat(&sidecar);
            assert!(!sending.is_finished(), "256 MiB went somewhere");
            std::thread::sleep(Duration::from_millis(50));
        }
        tell.send(()).unwrap();
        sending.join().unwrap()
    });
    upload.answer("PATCH").unwrap().expect(202);
    assert_memory_is_flat(&sidecar);
    assert_eq!(upstream.count("PATCH"), 1);
}

#[test]
fn uploads_in_pieces_and_with_a_known_length_arrive_whole() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    let client = sidecar.client();
    for size in [1, 2, 4095, 65_536, 3 * MIB + 1] {
        let bytes = support::bytes_from(&format!("{size}"), size);
        let digest = digest_of(&bytes);
        let opened = client.begin("whole").expect(202);
        client.finish(&opened, &bytes).expect(201);
        assert_eq!(client.pull("whole", &digest), bytes);
        let opened = client.begin("pieces").expect(202);
        client
            .finish_in_pieces(&opened, &bytes, size.div_ceil(3))
            .expect(201);
        assert_eq!(client.pull("pieces", &digest), bytes);
    }
    let empty = digest_of(b"");
    let opened = client.begin("empty").expect(202);
    client.finish(&opened, b"").expect(201);
    assert_eq!(client.pull("empty", &empty), b"");
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    let client = sidecar.client();
    let bytes = support::bytes_from("expected", 100_000);
    let digest = digest_of(&bytes);
    let opened = client.begin("a").expect(202);
    let head = client
        .request("PUT", &closing(&opened, &digest))
        .header("Expect", "100-continue")
        .header("Content-Length", "100000")
        .bytes(client.port);
    let mut connection = client.connect();
    connection.write(&head).unwrap();
    assert_eq!(connection.head().unwrap().status, 100);
    connection.write(&bytes).unwrap();
    connection.answer("PUT").unwrap().expect(201);
    assert_eq!(client.pull("a", &digest), bytes);
}

#[test]
fn a_client_that_waits_for_100_continue_gets_a_refusal_instead() {
    let upstream =
        MisbehavingUpstream::start(|_| Reply::AnswerAndClose(answer("401 Unauthorized", "no")));
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    let head = Request::new("PUT", "/v2/a/manifests/v1")
        .header("Expect", "100-continue")
        .header("Content-Length", "5")
        .bytes(sidecar.port);
    let mut connection = sidecar.client().connect();
    connection.write(&head).unwrap();
    let refusal = connection.answer("PUT").unwrap().expect(401);
    assert_eq!(refusal.text(), "no");
    assert_eq!(upstream.count("PUT"), 1);
}
