//! Writes share connections to the registry. None fails because such a connection ends, and none
//! arrives twice.

use crate::{needs, support};
use serde_json::json;
use std::collections::HashSet;
use std::fs;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use support::client_certificates::servers_files;
use support::digest_of;
use support::misbehaving_upstream::Step::{Close, Finish, Next, Read, Reset, Send, Wait};
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, Step, in_front_of, ok};
use support::nginx::Nginx;
use support::raw_http::{Answer, Connection, Request};
use support::registry::Registry;
use support::registry_client::closing;
use support::sidecar::{self, Sidecar};
use support::strace::record_calls;

/// How a body comes, by its length.
fn write(method: &str, target: &str, length: usize) -> Request {
    Request::new(method, target).body(&vec![b'x'; length])
}

/// Sends on a connection that stays open.
fn over(connection: &mut Connection, request: &Request) -> Answer {
    connection.write(&request.bytes(1)).unwrap();
    connection.answer(&request.method).unwrap()
}

/// The connections that carried requests of clients by this method.
fn connections(upstream: &MisbehavingUpstream, method: &str) -> HashSet<usize> {
    let heard = upstream.heard().into_iter();
    let heard = heard.filter(|heard| heard.method == method);
    heard.map(|heard| heard.connection).collect()
}

#[test]
fn writes_with_short_bodies_share_a_connection() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    let mut client = Connection::to(sidecar.port).unwrap();
    for _ in 0..10 {
        for (method, length) in [("POST", 0), ("PATCH", 1000), ("PUT", 0), ("DELETE", 0)] {
            over(&mut client, &write(method, "/v2/a", length)).expect(200);
        }
        over(&mut client, &Request::new("GET", "/v2/")).expect(200);
    }
    let shared = connections(&upstream, "POST");
    assert_eq!(shared.len(), 1);
    for method in ["PATCH", "PUT", "DELETE"] {
        assert_eq!(connections(&upstream, method), shared, "{method}");
    }
    assert!(connections(&upstream, "GET").is_disjoint(&shared));
}

#[test]
fn a_body_that_cannot_be_sent_again_gets_a_connection_of_its_own() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    let mut client = Connection::to(sidecar.port).unwrap();
    let chunked = Request::new("PATCH", "/v2/a").header("Transfer-Encoding", "chunked");
    for _ in 0..5 {
        over(&mut client, &write("POST", "/v2/a", 0)).expect(200);
        over(&mut client, &write("PUT", "/v2/a", 1 << 15 | 1)).expect(200);
        client.write(&chunked.bytes(1)).unwrap();
        client.write_chunk(b"some bytes").unwrap();
        client.write_chunk(b"").unwrap();
        client.answer("PATCH").unwrap().expect(200);
    }
    assert_eq!(connections(&upstream, "POST").len(), 1);
    assert_eq!(connections(&upstream, "PUT").len(), 5);
    assert_eq!(connections(&upstream, "PATCH").len(), 5);
}

#[test]
fn a_write_takes_no_connection_that_was_idle_for_long() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = in_front_of(&upstream, |config| {
        config["upstream"]["timeouts"] = json!({"idle": "50s"});
    });
    let mut client = Connection::to(sidecar.port).unwrap();
    for _ in 0..3 {
        over(&mut client, &write("POST", "/v2/a", 0)).expect(200);
        sleep(Duration::from_millis(600));
    }
    assert_eq!(connections(&upstream, "POST").len(), 3);
}

/// An upstream that ends each connection with its second request, read or unread.
fn ending_on_the_second_request(is_read: bool, end: &Step) -> MisbehavingUpstream {
    let end = end.clone();
    MisbehavingUpstream::start(move |heard| match heard.nth {
        0 if is_read => Reply::Answer(ok("fine")),
        0 => Reply::Steps(vec![Read, Send(ok("fine")), Next, end.clone()]),
        _ => Reply::Steps(vec![Read, end.clone()]),
    })
}

#[test]
fn a_write_that_began_to_arrive_fails_once_and_arrives_once() {
    for (is_read, end) in [(false, Reset), (true, Finish), (true, Reset), (true, Close)] {
        let upstream = ending_on_the_second_request(is_read, &end);
        for (at, length) in [0, 10].into_iter().enumerate() {
            let (sidecar, _root) = in_front_of(&upstream, |_| ());
            let mut client = Connection::to(sidecar.port).unwrap();
            let target = format!("/v2/{at}");
            over(&mut client, &write("POST", "/v2/first", 0)).expect(200);
            over(&mut client, &write("POST", &target, length)).expect(502);
            let mut heard = upstream.heard();
            heard.retain(|heard| heard.target == target);
            assert_eq!(heard.len(), usize::from(is_read), "{end:?}");
            // This upstream is known now: each write has a connection of its own.
            let mut client = Connection::to(sidecar.port).unwrap();
            for _ in 0..3 {
                over(&mut client, &write("PUT", "/v2/later", 0)).expect(200);
            }
        }
    }
}

/// The worst that follows is one session more, which the registry purges.
#[test]
fn a_post_that_opens_an_upload_session_is_sent_again() {
    for (is_read, end) in [(false, Reset), (true, Finish), (true, Reset), (true, Close)] {
        let upstream = ending_on_the_second_request(is_read, &end);
        let mount = format!("?mount={}", digest_of(b"layer"));
        for query in [String::new(), format!("{mount}&from=b"), mount] {
            let (sidecar, _root) = in_front_of(&upstream, |_| ());
            let mut client = Connection::to(sidecar.port).unwrap();
            over(&mut client, &write("POST", "/v2/a/blobs/uploads/", 0)).expect(200);
            let target = format!("/v2/a/blobs/uploads/{query}");
            over(&mut client, &write("POST", &target, 0)).expect(200);
            over(&mut client, &write("POST", &target, 0)).expect(200);
        }
    }
}

/// Not even one that may open a second session: the client has seen the first response.
#[test]
fn a_write_whose_response_has_begun_is_not_sent_again() {
    for end in [Finish, Reset, Close] {
        let last = end.clone();
        let upstream = MisbehavingUpstream::start(move |heard| {
            if heard.nth == 0 {
                return Reply::Answer(ok("fine"));
            }
            let begun = b"HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\nhalf".to_vec();
            let passed_on = Wait(Duration::from_millis(100));
            Reply::Steps(vec![Read, Send(begun), passed_on, last.clone()])
        });
        let (sidecar, _root) = in_front_of(&upstream, |_| ());
        let mut client = Connection::to(sidecar.port).unwrap();
        let open = write("POST", "/v2/a/blobs/uploads/", 0);
        over(&mut client, &open).expect(200);
        client.write(&open.bytes(1)).unwrap();
        let answer = client.head().unwrap();
        assert_eq!(answer.status, 202, "{end:?}");
        client.body(&answer, |_| ()).expect_err("it broke off");
        assert_eq!(upstream.count("POST"), 2, "{end:?}");
    }
}

/// strace holds back what crossmount sends to the registry. So the registry closes the connection after
/// crossmount has looked at it, and before the write is sent.
#[test]
fn a_write_that_meets_the_end_of_its_connection_is_sent_again() {
    needs!("strace");
    let pause = Duration::from_millis(300);
    let upstream = MisbehavingUpstream::start(move |heard| match &*heard.target {
        "/v2/first" => Reply::Steps(vec![Read, Send(ok("first")), Wait(pause / 2), Close]),
        _ => Reply::Answer(ok("second")),
    });
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("trace");
    let late = format!("sendto:delay_enter={}", pause.as_micros());
    let root = tempfile::tempdir().unwrap();
    let config = sidecar::config(&upstream.url(), root.path());
    let sidecar = Sidecar::launch(record_calls("sendto", &[&late], &log), &config);
    for (method, length) in [("POST", 0), ("PUT", 1000), ("DELETE", 0)] {
        let mut client = Connection::to(sidecar.port).unwrap();
        let target = format!("/v2/{method}");
        over(&mut client, &write("POST", "/v2/first", 0)).expect(200);
        let answer = over(&mut client, &write(method, &target, length)).expect(200);
        assert_eq!(answer.text(), "second");
        let heard = upstream.heard();
        let last = heard.iter().rposition(|heard| heard.target == "/v2/first");
        let [second] = &heard[last.unwrap() + 1..] else {
            panic!("{heard:?}");
        };
        assert_eq!(second.nth, 0, "on a new connection");
    }
    // The connection had in fact been taken, and the write was sent on it.
    let sent = fs::read_to_string(log).unwrap();
    let times = sent.matches("PUT /v2/PUT HTTP/1.1").count();
    assert_eq!(times, 2, "{sent}");
}

/// Pushes small blobs for some seconds, with pauses around nginx' idle time. Every request is
/// answered as it should be, and the registry has as many upload sessions as were opened.
fn pushes_outlive_what_nginx_closes(is_tls: bool) {
    let registry = Registry::start();
    let files = servers_files();
    let limits = "keepalive_timeout 1s;\nkeepalive_requests 10;\nproxy_set_header Host $http_host;";
    let nginx = if is_tls {
        Nginx::over_tls(files.path(), registry.port, limits)
    } else {
        Nginx::before(registry.port, limits)
    };
    let sidecar = Sidecar::with(&registry, |config| {
        let scheme = if is_tls { "https" } else { "http" };
        config["upstream"]["url"] = json!(format!("{scheme}://localhost:{}", nginx.port));
        if is_tls {
            config["upstream"]["ca_certificate"] = json!(files.path().join("ca.pem"));
        }
    });
    let pauses = [0, 0, 20, 480, 0, 520, 990, 0, 1000, 0, 1010, 0];
    let began = Instant::now();
    let clients = 8;
    scope(|scope| {
        for client in 0..clients {
            let (registry, sidecar) = (&registry, &sidecar);
            scope.spawn(move || {
                let mut connection = Connection::to(sidecar.port).unwrap();
                let repository = format!("r{client}");
                let mut opened = 0;
                for pause in pauses.into_iter().cycle() {
                    if began.elapsed() > Duration::from_secs(8) {
                        break;
                    }
                    let open = write("POST", &format!("/v2/{repository}/blobs/uploads/"), 0);
                    over(&mut connection, &open).expect(202);
                    let session = over(&mut connection, &open).expect(202);
                    opened += 1;
                    sleep(Duration::from_millis(pause));
                    let bytes = format!("{client} {opened}");
                    let end = Request::new("PUT", &closing(&session, &digest_of(bytes.as_bytes())));
                    let end = end.header("Content-Type", "application/octet-stream");
                    over(&mut connection, &end.body(bytes.as_bytes())).expect(201);
                }
                let sessions = registry.store.repository(&repository).join("_uploads");
                assert_eq!(fs::read_dir(sessions).unwrap().count(), opened);
            });
        }
    });
    let writes = nginx.requests();
    let writes = writes.iter().filter(|(_, method)| *method != "GET");
    let connections: HashSet<_> = writes.clone().map(|(connection, _)| connection).collect();
    let each = writes.count() / connections.len();
    assert!(each >= 2, "{each} writes on a connection");
}

#[test]
fn pushes_outlive_the_connections_that_nginx_closes() {
    needs!("docker-registry", "nginx");
    pushes_outlive_what_nginx_closes(false);
}

#[test]
fn pushes_outlive_the_connections_that_nginx_closes_over_tls() {
    needs!("docker-registry", "nginx", "openssl");
    pushes_outlive_what_nginx_closes(true);
}
