//! An upstream that falls silent: nothing hangs past its timeout, and nothing is left behind.

use super::observed_response::{ObservedResponse, observe, send_and_observe};
use super::upstream_failures::requests;
use crate::support;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use support::figures::{amount, note};
use support::generated_body::{MIB, body_pieces};
use support::misbehaving_upstream::Step::{self, Hold, Read, Send, Wait};
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, in_front_of};
use support::raw_http::Request;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::Sidecar;
use support::wait_until;

/// The longest timeout, and what a mount's question may take before it.
const TIMEOUTS: Duration = Duration::from_millis(1500);
/// Far more than the timeouts, far less than anybody's patience.
const SLACK: Duration = Duration::from_secs(15);

/// How long each of many was waited for: none for very long, and half of them, which do not feel
/// what else the machine does, for not much longer than the timeouts.
#[derive(Default)]
struct Waits(Mutex<Vec<Duration>>);

impl Waits {
    #[track_caller]
    fn add(&self, since: Instant, what: &str) {
        let took = since.elapsed();
        assert!(took < SLACK, "{took:?}: {what}");
        self.0.lock().unwrap().push(took);
    }

    #[track_caller]
    fn are_in_time(self) -> Duration {
        let mut all = self.0.into_inner().unwrap();
        all.sort();
        let median = all[all.len() / 2];
        assert!(median < 2 * TIMEOUTS, "half of them took {median:?}");
        median
    }
}

fn hasty(config: &mut Value) {
    let timeouts = json!({"connect": "1s", "read": "1s", "write": "1s", "idle": "1s"});
    config["upstream"]["timeouts"] = timeouts;
    config["mount"] = json!({"time_budget": "500ms"});
}

#[track_caller]
fn is_idle(sidecar: &Sidecar) {
    wait_until("no request is in flight", || {
        sidecar.metric("crossmount_requests_in_flight", &[]) == 0.0
    });
}

/// The least that it has open for a while: its own questions to such an upstream come and go.
#[track_caller]
fn at_rest(sidecar: &Sidecar) -> usize {
    is_idle(sidecar);
    let moments = (0..300).map(|_| {
        sleep(Duration::from_millis(10));
        sidecar.descriptors()
    });
    moments.min().unwrap()
}

#[track_caller]
fn nothing_is_left(sidecar: &Sidecar, before: usize) {
    is_idle(sidecar);
    wait_until("all connections and files are closed", || {
        sidecar.descriptors() <= before
    });
}

/// Where an upstream falls silent, and whether an answer has begun by then.
fn silences() -> Vec<(&'static str, bool, Vec<Step>)> {
    let text = |text: &str| Send(text.into());
    let half = text("HTTP/1.1 200 OK\r\nContent-Le");
    let body = text("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe beginning");
    let chunk = text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    let early = text("HTTP/1.1 103 Early Hints\r\n\r\n");
    vec![
        ("before everything", false, vec![Hold]),
        ("after the request", false, vec![Read, Hold]),
        ("in the head", false, vec![Read, half, Hold]),
        ("after an interim answer", false, vec![Read, early, Hold]),
        ("in the body", true, vec![Read, body, Hold]),
        ("between chunks", true, vec![Read, chunk, Hold]),
    ]
}

#[test]
fn a_silent_upstream_is_given_up_within_its_timeout_and_nothing_is_left() {
    let (mut asked, waits) = (0, Waits::default());
    let upstream = ScriptedRegistry::start(|heard| {
        let wanted = heard.header("X-Silence")?;
        let found = silences().into_iter().find(|(name, ..)| *name == wanted);
        found.map(|(_, _, steps)| Reply::Steps(steps))
    });
    let sidecar = upstream.sidecar(hasty);
    sidecar.client().get("/v2/").expect(200);
    let before = at_rest(&sidecar);
    for round in 0..amount(1, 20) {
        scope(|scope| {
            for (name, has_begun, _) in silences() {
                for asked in requests() {
                    let (port, waits) = (sidecar.port, &waits);
                    scope.spawn(move || {
                        let request = asked.request.header("X-Silence", name);
                        let start = Instant::now();
                        let seen = send_and_observe(port, asked.method, &request);
                        let what = format!("{round}: {}, silent {name}: {seen:?}", asked.name);
                        waits.add(start, &what);
                        if !has_begun {
                            assert_eq!(seen.own_failure(), Some(504), "{what}");
                            return;
                        }
                        let ObservedResponse::Answer {
                            status: 200,
                            is_whole,
                            ..
                        } = seen
                        else {
                            panic!("{what}");
                        };
                        assert_eq!(is_whole, asked.method == "HEAD", "{what}");
                    });
                }
            }
        });
        asked += requests().len() * silences().len();
        nothing_is_left(&sidecar, before);
    }
    sidecar.client().get("/v2/").expect(200);
    let median = waits.are_in_time();
    note(
        "Upstream",
        "every kind of request meets an upstream that falls silent: before its answer, in its head, \
         in its body",
        asked as u64,
        &format!(
            "504, or a body that is seen to be cut, half of them within {median:.1?}, where timeouts \
             are of 1s, and of 500ms for a mount; every connection and file was closed again"
        ),
    );
}

#[test]
fn questions_that_are_never_answered_hold_no_mount_past_its_time() {
    for mode in ["none", "upstream"] {
        let upstream = ScriptedRegistry::start(|heard| {
            let is_question = heard.method == "PATCH" && heard.is_the_sidecars();
            let is_mute = heard.target.contains("mute") && heard.method == "POST";
            (is_question || is_mute).then(|| Reply::Steps(vec![Read, Hold]))
        });
        let sidecar = upstream.sidecar(|config| {
            hasty(config);
            config["access"] = json!({"mode": mode});
        });
        let digest = upstream.plant("source", b"a layer");
        let before = at_rest(&sidecar);
        let (many, waits) = (amount(20, 200), Waits::default());
        scope(|scope| {
            for at in 0..many {
                let client = sidecar.client().basic(&format!("user{at}"), "x");
                let (digest, waits) = (&digest, &waits);
                scope.spawn(move || {
                    let start = Instant::now();
                    let (target, status) = [("fine", 202), ("mute", 504)][at % 2];
                    client.mount(target, digest, "source").expect(status);
                    waits.add(start, target);
                });
            }
        });
        waits.are_in_time();
        assert_eq!(upstream.heard("POST").len(), many);
        assert_eq!(sidecar.mounted(), 0);
        for target in ["fine", "mute"] {
            assert!(!upstream.store.repository(target).exists());
        }
        nothing_is_left(&sidecar, before);
    }
}

#[test]
fn an_upstream_that_takes_no_more_of_a_body_is_given_up() {
    let upstream =
        MisbehavingUpstream::start(|_| Reply::Steps(vec![Wait(Duration::from_secs(90))]));
    let (sidecar, _root) = in_front_of(&upstream, hasty);
    let before = at_rest(&sidecar);
    let start = Instant::now();
    let mut connection = sidecar.client().connect();
    let length = 64 * MIB;
    let head = format!(
        "PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.write(head.as_bytes()).unwrap();
    // The sidecar hangs up on a client that is still sending.
    let _ = body_pieces(64).try_for_each(|piece| connection.write(&piece));
    let seen = observe(&mut connection, "PATCH");
    assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
    // What was said before may be lost with the connection.
    assert!(
        seen == ObservedResponse::Nothing || seen.own_failure() == Some(504),
        "{seen:?}"
    );
    assert_eq!(upstream.count("PATCH"), 1);
    support::generated_body::assert_memory_is_flat(&sidecar);
    drop(connection);
    nothing_is_left(&sidecar, before);
}

#[test]
fn an_upstream_that_takes_no_connection_is_given_up() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    // Nobody accepts, and the kernel takes no more than two for nobody.
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(address).unwrap();
        socket.listen(1).unwrap()
    });
    let address = listener.local_addr().unwrap();
    let waiting: Vec<_> = (0..20)
        .map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok())
        .collect();
    assert!(waiting.len() < 20, "the kernel takes every connection");
    let root = tempfile::tempdir().unwrap();
    let url = format!("http://{address}");
    let mut config = support::sidecar::config(&url, root.path());
    hasty(&mut config);
    let sidecar = Sidecar::from(&config);
    let before = at_rest(&sidecar);
    scope(|scope| {
        for asked in requests() {
            let port = sidecar.port;
            scope.spawn(move || {
                let start = Instant::now();
                let seen = send_and_observe(port, asked.method, &asked.request);
                assert_eq!(seen.own_failure(), Some(503), "{}: {seen:?}", asked.name);
                assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
            });
        }
    });
    nothing_is_left(&sidecar, before);
}

#[test]
fn an_unreachable_upstream_is_reported_at_once() {
    let port = support::free_port();
    let root = tempfile::tempdir().unwrap();
    let config = support::sidecar::config(&format!("http://127.0.0.1:{port}"), root.path());
    let sidecar = Sidecar::from(&config);
    let before = at_rest(&sidecar);
    for asked in requests() {
        let start = Instant::now();
        let seen = send_and_observe(sidecar.port, asked.method, &asked.request);
        assert_eq!(seen.own_failure(), Some(503), "{}: {seen:?}", asked.name);
        assert!(start.elapsed() < SLACK);
        let again = Request::new("GET", "/v2/").send(sidecar.port).expect(503);
        assert_eq!(again.header("Retry-After"), Some("1"));
    }
    nothing_is_left(&sidecar, before);
}
