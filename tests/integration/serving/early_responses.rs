//! A registry answers before the request's body has come: the client gets the answer, whatever it
//! still sends, as from the registry alone.

use crate::{needs, support};
use serde_json::json;
use std::io;
use std::time::Duration;
use support::misbehaving_upstream::Step::{Finish, Reset, Send, Wait};
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, answer, in_front_of};
use support::nginx::Nginx;
use support::raw_http::{Connection, get};
use support::registry::Registry;
use support::sidecar::Sidecar;

const PIECE: usize = 10_000;
const PAUSE: Duration = Duration::from_millis(2);
const ROUNDS: usize = 3;
const SESSION: &str = "/v2/a/blobs/uploads/5f4c6f6e-0000-4000-8000-000000000000";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Length,
    Chunks,
}

/// A request with a body that the registry does not want.
#[derive(Clone, Copy, Debug)]
struct Upload {
    method: &'static str,
    target: &'static str,
    size: usize,
    framing: Framing,
}

impl Upload {
    /// The same with a body of another size.
    fn of(self, size: usize) -> Self {
        Self { size, ..self }
    }
}

/// What the client got.
#[derive(Debug, PartialEq)]
struct Outcome {
    status: u16,
    body: String,
    /// Whether the next request on the same connection was answered.
    is_kept: bool,
}

/// The strictest of clients: reads nothing before everything is sent.
fn send(port: u16, upload: Upload) -> io::Result<Outcome> {
    let mut connection = Connection::to(port)?;
    let Upload { method, target, .. } = upload;
    let framing = match upload.framing {
        Framing::Length => format!("Content-Length: {}", upload.size),
        Framing::Chunks => "Transfer-Encoding: chunked".to_owned(),
    };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: registry.test\r\n{framing}\r\n\r\n");
    connection.write(head.as_bytes())?;
    let piece = vec![b'x'; PIECE];
    for _ in 0..upload.size / PIECE {
        match upload.framing {
            Framing::Length => connection.write(&piece)?,
            Framing::Chunks => connection.write_chunk(&piece)?,
        }
        std::thread::sleep(PAUSE);
    }
    if upload.framing == Framing::Chunks {
        connection.write_chunk(b"")?;
    }
    let answer = connection.answer(method)?;
    let next = connection.write(b"GET /v2/ HTTP/1.1\r\nHost: registry.test\r\n\r\n");
    let is_kept = next.and_then(|()| connection.answer("GET")).is_ok();
    Ok(Outcome {
        status: answer.status,
        body: answer.text(),
        is_kept,
    })
}

fn uploads(size: usize) -> Vec<Upload> {
    let mut all = Vec::new();
    for (method, target) in [
        ("PATCH", SESSION),
        ("PUT", SESSION),
        ("PUT", "/v2/a/manifests/latest"),
        ("POST", "/v2/a/blobs/uploads/"),
    ] {
        for framing in [Framing::Length, Framing::Chunks] {
            all.push(Upload {
                method,
                target,
                size,
                framing,
            });
        }
    }
    all
}

/// Sends it several times: an answer that is lost now and then is lost too.
#[track_caller]
fn always_answered(port: u16, upload: Upload) -> Outcome {
    let outcomes: Vec<_> = (0..ROUNDS)
        .map(|round| {
            let outcome = send(port, upload);
            outcome.unwrap_or_else(|error| panic!("{upload:?}, round {round}: {error}"))
        })
        .collect();
    for outcome in &outcomes {
        assert_eq!(outcome.status, outcomes[0].status, "{upload:?}");
        assert_eq!(outcome.is_kept, outcomes[0].is_kept, "{upload:?}");
    }
    outcomes.into_iter().next().unwrap()
}

/// Registries that refuse such requests at once, and with which status.
fn refusing() -> Vec<(Registry, u16)> {
    let mut read_only = Registry::prepared(|_| ());
    read_only.read_only(true);
    read_only.resume();
    vec![
        (Registry::with_htpasswd(&[("alice", "right")]), 401),
        (read_only, 405),
    ]
}

#[test]
fn an_early_refusal_of_a_short_body_leaves_the_connection_as_the_registry_alone_does() {
    needs!("docker-registry", "htpasswd");
    for (registry, status) in refusing() {
        let sidecar = Sidecar::start(&registry);
        for upload in uploads(100_000) {
            let alone = always_answered(registry.port, upload);
            let through = always_answered(sidecar.port, upload);
            assert_eq!(through.status, alone.status, "{upload:?}");
            assert_eq!(through.is_kept, alone.is_kept, "{upload:?}");
            // The order of a challenge's scopes is random, its error code is not.
            let code = |outcome: &Outcome| outcome.body.split("message").next().map(str::to_owned);
            assert_eq!(code(&through), code(&alone), "{upload:?}");
            if upload.method == "POST" {
                assert_eq!(alone.status, status, "{upload:?}");
            }
        }
    }
}

#[test]
fn an_early_refusal_of_a_long_body_arrives_though_the_registry_hangs_up() {
    needs!("docker-registry", "htpasswd");
    for (registry, _) in refusing() {
        let sidecar = Sidecar::start(&registry);
        for upload in uploads(1_000_000) {
            // Of a body that is longer than what it reads the registry alone loses answers.
            let alone = always_answered(registry.port, upload.of(100_000));
            let through = always_answered(sidecar.port, upload);
            assert_eq!(through.status, alone.status, "{upload:?}");
        }
    }
}

#[test]
fn an_unknown_upload_and_a_wrong_route_are_answered_too() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    for (method, target) in [
        ("PATCH", SESSION),
        ("PUT", SESSION),
        ("POST", "/v2/nothing"),
    ] {
        for size in [100_000, 1_000_000] {
            let upload = Upload {
                method,
                target,
                size,
                framing: Framing::Length,
            };
            let alone = always_answered(registry.port, upload.of(100_000));
            assert_eq!(alone.status, 404);
            let through = always_answered(sidecar.port, upload);
            assert_eq!(through.status, 404, "{upload:?}");
        }
    }
}

#[test]
fn a_size_or_rate_limit_reaches_a_client_that_is_still_sending() {
    for status in ["413 Payload Too Large", "429 Too Many Requests"] {
        for ending in [Finish, Reset] {
            // As Go's server does: it answers, waits for half a second, and closes.
            let steps = vec![
                Send(answer(status, "no")),
                Wait(Duration::from_millis(500)),
                ending,
            ];
            let upstream = MisbehavingUpstream::start(move |heard| {
                if heard.method == "GET" {
                    return Reply::Answer(answer("200 OK", "fine"));
                }
                Reply::Steps(steps.clone())
            });
            let (sidecar, _root) = in_front_of(&upstream, |_| ());
            for upload in uploads(1_000_000) {
                let outcome = always_answered(sidecar.port, upload);
                assert_eq!(outcome.status.to_string(), status[..3], "{upload:?}");
                assert_eq!(outcome.body, "no");
                assert!(outcome.is_kept, "{upload:?}");
            }
        }
    }
}

#[test]
fn an_unreachable_registry_is_reported_to_a_client_that_is_still_sending() {
    let port = support::free_port();
    let root = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let sidecar = Sidecar::from(&support::sidecar::config(&url, root.path()));
    for upload in uploads(1_000_000) {
        let outcome = always_answered(sidecar.port, upload);
        assert_eq!(outcome.status, 503, "{upload:?}");
        assert!(outcome.body.contains("UNAVAILABLE"), "{outcome:?}");
    }
}

#[test]
fn a_client_that_never_stops_sending_is_let_go() {
    let upstream =
        MisbehavingUpstream::start(|_| Reply::Steps(vec![Send(answer("401 No", "no")), Reset]));
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    let mut connection = Connection::to(sidecar.port).unwrap();
    connection
        .write(b"PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let piece = vec![b'x'; 1 << 20];
    let written = (0..1000).take_while(|_| connection.write_chunk(&piece).is_ok());
    let mebibytes = written.count();
    assert!((1..400).contains(&mebibytes), "{mebibytes}");
    support::wait_until("the request is over", || {
        let metrics = get(sidecar.admin, "/metrics").text();
        metrics.contains("\ncrossmount_requests_in_flight 0\n")
    });
}

#[test]
fn nginx_that_does_not_buffer_requests_passes_the_answer_on() {
    needs!("docker-registry", "htpasswd", "nginx");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let sidecar = Sidecar::start(&registry);
    let nginx = Nginx::before(
        sidecar.port,
        "proxy_request_buffering off; proxy_http_version 1.1;",
    );
    for size in [100_000, 1_000_000] {
        for upload in uploads(size) {
            assert_eq!(
                always_answered(nginx.port, upload).status,
                401,
                "{upload:?}"
            );
        }
    }
}

/// Sends forty bodies in pieces, as fetch does, and prints how many answers came.
const FETCH: &str = r"
const [url, size] = [process.argv[1], Number(process.argv[2])];
async function* pieces() {
  for (let sent = 0; sent < size; sent += 10000) {
    yield new Uint8Array(10000);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
let answered = 0;
for (let round = 0; round < 40; round++) {
  try {
    const answer = await fetch(url, { method: 'PUT', body: pieces(), duplex: 'half' });
    await answer.text();
    answered += answer.status === 401 ? 1 : 0;
  } catch {}
}
console.log(answered);
";

#[test]
fn nodes_fetch_gets_every_answer() {
    needs!("docker-registry", "htpasswd", "node");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let sidecar = Sidecar::start(&registry);
    let answered = |port: u16| {
        let url = format!("http://127.0.0.1:{port}{SESSION}");
        let mut node = std::process::Command::new("node");
        node.args(["--input-type=module", "--eval", FETCH, &url, "100000"]);
        String::from_utf8(support::tools::run(&mut node).stdout).unwrap()
    };
    assert_eq!(answered(registry.port), "40\n");
    assert_eq!(answered(sidecar.port), "40\n");
}

#[test]
fn what_a_client_waits_to_send_is_not_waited_for() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let sidecar = Sidecar::start(&registry);
    let mut connection = Connection::to(sidecar.port).unwrap();
    let head = format!(
        "PUT {SESSION} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    );
    connection.write(head.as_bytes()).unwrap();
    let answer = connection.answer("PUT").unwrap().expect(401);
    assert_eq!(answer.header("Connection"), Some("close"));
    assert!(connection.head().is_err(), "the end comes after the answer");
}

#[test]
fn connections_to_the_registry_that_carried_a_long_body_are_not_kept() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = in_front_of(&upstream, |config| {
        config["upstream"]["timeouts"] = json!({"idle": "50s"});
    });
    for _ in 0..10 {
        for method in ["PATCH", "PUT", "POST"] {
            let request =
                support::raw_http::Request::new(method, SESSION).body(&vec![0; 1 << 15 | 1]);
            request.send(sidecar.port).expect(200);
        }
    }
    let connections: std::collections::HashSet<_> = upstream
        .heard()
        .iter()
        .map(|heard| heard.connection)
        .collect();
    assert_eq!(connections.len(), 30, "each has a connection of its own");
    support::wait_until("they are closed", || open_to(upstream.port) == 0);
}

/// Connections to a port of this machine that this process' sidecar has open.
fn open_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!("0100007F:{port:04X}");
    let is_open = |line: &&str| {
        let mut columns = line.split_whitespace().skip(2);
        columns.next() == Some(&*remote) && columns.next() == Some("01")
    };
    table.lines().filter(is_open).count()
}
