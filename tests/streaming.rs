//! Bodies of any size: streamed, never held, and never sent twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod support;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use support::faulty::{Faulty, Heard, Verdict, answer, ok};
use support::push::closing;
use support::registry::Registry;
use support::sidecar::{self, Sidecar};
use support::wire::{Connection, Request};
use support::{digest_of, hex};

const MIB: usize = 1 << 20;
/// In kB: far above what the process needs, far below the bodies that pass.
const MOST_MEMORY: u64 = 64 * 1024;

/// Pieces of 1 MiB, no two of them alike.
fn pieces(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let pattern: Vec<u8> = (0..=u8::MAX).cycle().take(MIB).collect();
    (0..count).map(move |at| {
        let mut piece = pattern.clone();
        piece[..8].copy_from_slice(&(at as u64).to_le_bytes());
        piece
    })
}

fn digest_of_pieces(count: usize) -> String {
    let mut hash = Sha256::new();
    pieces(count).for_each(|piece| hash.update(piece));
    format!("sha256:{}", hex(&hash.finalize()))
}

#[track_caller]
fn memory_is_flat(sidecar: &Sidecar) {
    let peak = sidecar.memory("VmHWM");
    assert!(peak < MOST_MEMORY, "{peak} kB");
}

/// Opens an upload and sends the pieces in one request with this head line for the body's length.
fn send_pieces(
    sidecar: &Sidecar,
    method: &str,
    target: &str,
    count: usize,
    chunked: bool,
) -> Connection {
    let length = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {}", count * MIB)
    };
    let mut connection = sidecar.client().connect();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\
         Content-Type: application/octet-stream\r\n{length}\r\n\r\n",
        sidecar.port
    );
    connection.write(head.as_bytes()).unwrap();
    for piece in pieces(count) {
        if chunked {
            connection.write_chunk(&piece).unwrap();
        } else {
            connection.write(&piece).unwrap();
        }
    }
    if chunked {
        connection.write_chunk(b"").unwrap();
    }
    connection
}

/// Downloads a blob and gives the digest of what came.
fn download(mut connection: Connection, request: &Request, port: u16) -> String {
    connection.write(&request.bytes(port)).unwrap();
    let head = connection.head().unwrap();
    assert_eq!(head.status, 200);
    let mut hash = Sha256::new();
    connection.body(&head, |piece| hash.update(piece)).unwrap();
    format!("sha256:{}", hex(&hash.finalize()))
}

#[test]
fn a_gibibyte_goes_up_in_chunks_and_comes_down_in_flat_memory() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    let client = sidecar.client();
    let digest = digest_of_pieces(1024);

    let opened = client.begin("big").expect(202);
    let mut upload = send_pieces(&sidecar, "PATCH", &opened.location_path(), 1024, true);
    let session = upload.answer("PATCH").unwrap().expect(202);
    assert_eq!(session.header("Range"), Some("0-1073741823"));
    memory_is_flat(&sidecar);
    let put = client.request("PUT", &closing(&session, &digest));
    put.send(client.port).expect(201);

    let get = Request::new("GET", &format!("/v2/big/blobs/{digest}"));
    assert_eq!(download(client.connect(), &get, client.port), digest);
    memory_is_flat(&sidecar);
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
    let digest = digest_of_pieces(256);
    let opened = client.begin("big").expect(202);
    let mut upload = send_pieces(&sidecar, "PUT", &closing(&opened, &digest), 256, false);
    upload.answer("PUT").unwrap().expect(201);
    memory_is_flat(&sidecar);

    let get = Request::new("GET", &format!("/v2/big/blobs/{digest}"));
    let mut lazy = client.connect();
    lazy.write(&get.bytes(client.port)).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        memory_is_flat(&sidecar);
        client.get("/v2/").expect(200);
        std::thread::sleep(Duration::from_millis(100));
    }
    let head = lazy.head().unwrap();
    let mut hash = Sha256::new();
    lazy.body(&head, |piece| hash.update(piece)).unwrap();
    assert_eq!(format!("sha256:{}", hex(&hash.finalize())), digest);
    memory_is_flat(&sidecar);
}

#[test]
fn a_registry_that_does_not_read_slows_the_client_down() {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let upstream = Faulty::start(move |heard| {
        if heard.method == "PATCH" {
            told.lock().unwrap().recv().unwrap();
        }
        Verdict::Answer(answer("202 Accepted", ""))
    });
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    let mut upload = std::thread::scope(|scope| {
        let sending =
            scope.spawn(|| send_pieces(&sidecar, "PATCH", "/v2/a/blobs/uploads/x", 256, true));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            memory_is_flat(&sidecar);
            assert!(!sending.is_finished(), "256 MiB went somewhere");
            std::thread::sleep(Duration::from_millis(50));
        }
        tell.send(()).unwrap();
        sending.join().unwrap()
    });
    upload.answer("PATCH").unwrap().expect(202);
    memory_is_flat(&sidecar);
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
    let upstream = Faulty::start(|_| Verdict::AnswerAndClose(answer("401 Unauthorized", "no")));
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

fn in_front_of(upstream: &Faulty, change: impl FnOnce(&mut Value)) -> (Sidecar, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let mut config = sidecar::config(&upstream.url(), root.path());
    change(&mut config);
    (Sidecar::from(&config), root)
}

fn breaks(heard: &Heard) -> bool {
    heard.target.contains("break")
}

#[test]
fn a_request_that_changes_something_is_never_sent_twice() {
    let upstream = Faulty::start(|heard| {
        if breaks(heard) {
            Verdict::Close
        } else {
            Verdict::Answer(ok("fine"))
        }
    });
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    for (at, method) in ["PUT", "POST", "PATCH", "DELETE"].iter().enumerate() {
        for kept_alive in [false, true] {
            if kept_alive {
                sidecar.client().get("/v2/warm").expect(200);
            }
            let before = upstream.heard().len();
            let body = if *method == "DELETE" {
                &b""[..]
            } else {
                b"some bytes"
            };
            let answer = Request::new(method, &format!("/v2/a/break/{at}"))
                .body(body)
                .send(sidecar.port);
            assert_eq!(answer.status, 502, "{method}, {kept_alive}");
            let body: Value = serde_json::from_slice(&answer.body).expect("an OCI error body");
            assert!(body["errors"][0]["code"].is_string(), "{body}");
            let heard = &upstream.heard()[before..];
            assert_eq!(heard.len(), 1, "{method}, {kept_alive}: {heard:?}");
        }
    }
}

#[test]
fn a_request_without_a_body_is_not_sent_twice_either_when_it_may_change_something() {
    let upstream = Faulty::start(|heard| {
        if breaks(heard) {
            Verdict::Close
        } else {
            Verdict::Answer(ok("fine"))
        }
    });
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    for method in ["PUT", "POST", "PATCH", "DELETE"] {
        sidecar.client().get("/v2/warm").expect(200);
        let answer = Request::new(method, "/v2/a/break").send(sidecar.port);
        assert_eq!(answer.status, 502, "{method}");
        assert_eq!(upstream.count(method), 1, "{method}");
    }
}

#[test]
fn a_read_on_a_connection_that_died_is_asked_again() {
    let upstream = Faulty::start(|heard| {
        if heard.nth > 0 {
            Verdict::Close
        } else {
            Verdict::Answer(ok("fine"))
        }
    });
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    for _ in 0..5 {
        // Once the last one is over its connection is free, and there is one such connection alone.
        sidecar.metric("crossmount_requests_in_flight", &[]);
        assert_eq!(sidecar.client().get("/v2/").expect(200).text(), "fine");
    }
    let dead = Faulty::start(|_| Verdict::Close);
    let (sidecar, _root) = in_front_of(&dead, |_| ());
    assert_eq!(sidecar.client().get("/v2/").status, 502);
    assert!(
        (1..=3).contains(&dead.count("GET")),
        "{}",
        dead.count("GET")
    );
}

#[test]
fn a_download_that_breaks_in_the_middle_is_seen_to_be_broken() {
    let upstream = Faulty::start(|heard| {
        let head = if heard.target.contains("chunked") {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst"
        };
        Verdict::AnswerAndClose(head.into())
    });
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    for (at, target) in ["/v2/a/blobs/x", "/v2/a/blobs/chunked"].iter().enumerate() {
        let answer = Request::new("GET", target).try_send(sidecar.port);
        assert!(answer.is_err(), "{target}: {answer:?}");
        assert_eq!(upstream.count("GET"), at + 1);
    }
}

#[test]
fn an_upload_that_breaks_in_the_middle_is_not_sent_again() {
    let upstream = Faulty::start(|_| Verdict::Close);
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    let mut connection = sidecar.client().connect();
    connection
        .write(b"PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    // The sidecar may hang up on a client that is still sending.
    for piece in pieces(64) {
        if connection.write_chunk(&piece).is_err() {
            break;
        }
    }
    let _ = connection.write_chunk(b"");
    if let Ok(answer) = connection.answer("PATCH") {
        assert_eq!(answer.status, 502);
    }
    assert_eq!(upstream.count("PATCH"), 1);
    memory_is_flat(&sidecar);
}

#[test]
fn a_client_that_goes_away_ends_the_upload_upstream_too() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    let client = sidecar.client();
    let opened = client.begin("a").expect(202);
    let mut connection = client.connect();
    let head = client
        .request("PATCH", &opened.location_path())
        .header("Content-Type", "application/octet-stream")
        .header("Content-Length", "1000000")
        .bytes(client.port);
    connection.write(&head).unwrap();
    connection.write(&[1; 5000]).unwrap();
    drop(connection);
    support::wait_until("no request is in flight", || {
        sidecar.metric("crossmount_requests_in_flight", &[]) == 0.0
    });
    client.upload("a", b"the next one");
}

#[test]
fn a_registry_that_hashes_in_silence_is_waited_for() {
    let upstream = Faulty::start(|_| {
        let created = answer("201 Created", "");
        Verdict::Pieces(vec![created], Duration::from_secs(4))
    });
    let (patient, _root) = in_front_of(&upstream, |_| ());
    let put = Request::new("PUT", "/v2/a/blobs/uploads/x?digest=y").body(b"bytes");
    put.send(patient.port).expect(201);

    let (hasty, _root) = in_front_of(&upstream, |config| {
        config["upstream"]["timeouts"] = json!({"read": "1s"});
    });
    let start = Instant::now();
    let answer = put.send(hasty.port);
    assert_eq!(answer.status, 504);
    assert!(start.elapsed() < Duration::from_secs(4));
    let body: Value = serde_json::from_slice(&answer.body).expect("an OCI error body");
    assert!(body["errors"][0]["code"].is_string(), "{body}");
    assert_eq!(upstream.count("PUT"), 2);
}

#[test]
fn a_slow_download_that_keeps_coming_is_not_cut() {
    let upstream = Faulty::start(|_| {
        let mut pieces = vec![b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n".to_vec()];
        pieces.extend(vec![b"piece".to_vec(); 8]);
        Verdict::Pieces(pieces, Duration::from_millis(300))
    });
    let (sidecar, _root) = in_front_of(&upstream, |config| {
        config["upstream"]["timeouts"] = json!({"read": "1s"});
    });
    let answer = sidecar.client().get("/v2/a/blobs/x").expect(200);
    assert_eq!(answer.text(), "piece".repeat(8));
}
