//! Clients that do not wait for an answer before they ask again.

use crate::{needs, support};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use support::compare::RegistryPair;
use support::figures::{amount, note};
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, in_front_of, ok};
use support::raw_responses::{About, answers, read, send};

fn request(method: &str, number: usize, more: &str) -> String {
    let target = match method {
        "GET" => format!("/v2/first-{number}x/tags/list"),
        _ => format!("/v2/first-{number}x/blobs/uploads/"),
    };
    format!("{method} {target} HTTP/1.1\r\nHost: registry.test\r\n{more}\r\n")
}

fn wanted(method: &str, number: usize) -> About {
    About {
        status: if method == "GET" { 404 } else { 202 },
        marker: Some(format!("first-{number}x")),
    }
}

#[test]
fn requests_in_one_piece_are_answered_in_order_or_not_at_all() {
    needs!("docker-registry");
    let pair = RegistryPair::start();
    let methods = ["GET", "POST", "GET", "GET", "POST"];
    let mut answered = 0;
    let times = amount(20, 500);
    for _ in 0..times {
        let mut bytes = String::new();
        for (number, method) in methods.iter().enumerate() {
            let framing = match (*method, number % 2) {
                ("POST", 0) => "Transfer-Encoding: chunked\r\n\r\n0\r\n",
                ("POST", _) => "Content-Length: 0\r\n",
                _ => "",
            };
            let close = if number == 4 {
                "Connection: close\r\n"
            } else {
                ""
            };
            bytes += &request(method, number, &format!("{close}{framing}"));
        }
        let quiet = Duration::from_secs(20);
        let all: Vec<_> = (0..)
            .zip(methods)
            .map(|(at, method)| wanted(method, at))
            .collect();
        assert_eq!(send(pair.alone.port, bytes.as_bytes(), quiet), all);
        let got = send(pair.sidecar.port, bytes.as_bytes(), quiet);
        assert!(all.starts_with(&got) && !got.is_empty(), "{got:?}");
        answered += got.len();
    }
    note(
        "Hostile clients",
        "five requests in one piece",
        times,
        &format!("answered in order, then closed: {answered} answers, none to another request"),
    );
}

#[test]
fn a_request_sent_while_another_is_answered_does_not_harm_that_one() {
    let upstream = MisbehavingUpstream::start(|heard| {
        std::thread::sleep(Duration::from_millis(300));
        Reply::Answer(ok(&heard.target))
    });
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    for method in ["GET", "POST"] {
        let mut stream = TcpStream::connect(("127.0.0.1", sidecar.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        for number in 0..2 {
            let request = request(method, number, "Content-Length: 0\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut got = Vec::new();
        read(&mut stream, &mut got, |_| false);
        let answers = answers(&got).0;
        assert_eq!(
            answers,
            [About {
                status: 200,
                ..wanted(method, 0)
            }],
            "{method}"
        );
    }
    assert_eq!(upstream.heard().len(), 2);
}
