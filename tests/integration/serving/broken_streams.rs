//! Connections that break or fall silent: nothing is sent twice, and nothing hangs.

use crate::{needs, support};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::generated_body::{assert_memory_is_flat, body_pieces};
use support::misbehaving_upstream::{
    MisbehavingUpstream, ReceivedRequest, Reply, answer, in_front_of, ok,
};
use support::raw_http::Request;
use support::registry::Registry;
use support::sidecar::Sidecar;

/// Closes the connection of every request that is to break, and responds to the rest.
fn closing_upstream() -> MisbehavingUpstream {
    MisbehavingUpstream::start(|heard| {
        if breaks(heard) {
            Reply::Close
        } else {
            Reply::Answer(ok("fine"))
        }
    })
}

fn breaks(heard: &ReceivedRequest) -> bool {
    heard.target.contains("break")
}

#[test]
fn a_request_that_changes_something_is_never_sent_twice() {
    let upstream = closing_upstream();
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
    let upstream = closing_upstream();
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
    let upstream = MisbehavingUpstream::start(|heard| {
        if heard.nth > 0 {
            Reply::Close
        } else {
            Reply::Answer(ok("fine"))
        }
    });
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    for _ in 0..5 {
        // Once the last one is over its connection is free, and there is one such connection alone.
        sidecar.metric("crossmount_requests_in_flight", &[]);
        assert_eq!(sidecar.client().get("/v2/").expect(200).text(), "fine");
    }
    let dead = MisbehavingUpstream::start(|_| Reply::Close);
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
    let upstream = MisbehavingUpstream::start(|heard| {
        let head = if heard.target.contains("chunked") {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst"
        };
        Reply::AnswerAndClose(head.into())
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
    let upstream = MisbehavingUpstream::start(|_| Reply::Close);
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    let mut connection = sidecar.client().connect();
    connection
        .write(b"PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    // The sidecar may hang up on a client that is still sending.
    for piece in body_pieces(64) {
        if connection.write_chunk(&piece).is_err() {
            break;
        }
    }
    let _ = connection.write_chunk(b"");
    if let Ok(answer) = connection.answer("PATCH") {
        assert_eq!(answer.status, 502);
    }
    assert_eq!(upstream.count("PATCH"), 1);
    assert_memory_is_flat(&sidecar);
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
    let upstream = MisbehavingUpstream::start(|_| {
        let created = answer("201 Created", "");
        Reply::Pieces(vec![created], Duration::from_secs(4))
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
    let upstream = MisbehavingUpstream::start(|_| {
        let mut pieces = vec![b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n".to_vec()];
        pieces.extend(vec![b"piece".to_vec(); 8]);
        Reply::Pieces(pieces, Duration::from_millis(300))
    });
    let (sidecar, _root) = in_front_of(&upstream, |config| {
        config["upstream"]["timeouts"] = json!({"read": "1s"});
    });
    let answer = sidecar.client().get("/v2/a/blobs/x").expect(200);
    assert_eq!(answer.text(), "piece".repeat(8));
}
