//! What passes through must come out as it went in.

use crate::{needs, support};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::compare::{essence, send_raw};
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, answer, ok};
use support::raw_http::Request;
use support::registry::Registry;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::{self, Sidecar};

fn in_front_of(upstream: &MisbehavingUpstream) -> (Sidecar, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let config = sidecar::config(&upstream.url(), root.path());
    (Sidecar::from(&config), root)
}

#[test]
fn the_request_reaches_the_registry_as_it_came() {
    let upstream = MisbehavingUpstream::always_answering("heard");
    let (sidecar, _root) = in_front_of(&upstream);
    let target = "/v2/a%2Fb/../c//d;e/blobs/?x=%zz&y=a+b&%6d=;&z";
    Request::new("GET", target)
        .header("Host", "registry.test:5000")
        .header("User-Agent", "a client/1.0")
        .header("Accept", "one/type")
        .header("Accept", "two/types")
        .header("Accept-Encoding", "gzip")
        .header("Authorization", "Bearer token")
        .header("Cookie", "a=1; b=2")
        .header("Range", "bytes=1-2")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "public.test")
        .header("Forwarded", "host=forwarded.test")
        .header("Docker-Upload-Uuid", "x")
        .send(sidecar.port)
        .expect(200);
    let heard = &upstream.heard()[0];
    assert_eq!(heard.target, target);
    for (name, value) in [
        ("Host", "registry.test:5000"),
        ("User-Agent", "a client/1.0"),
        ("Accept", "one/type"),
        ("Accept-Encoding", "gzip"),
        ("Authorization", "Bearer token"),
        ("Cookie", "a=1; b=2"),
        ("Range", "bytes=1-2"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "public.test"),
        ("Forwarded", "host=forwarded.test"),
        ("Docker-Upload-Uuid", "x"),
    ] {
        assert_eq!(heard.header(name), Some(value), "{name}");
    }
    let accepts: Vec<_> = heard
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("Accept"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(accepts, ["one/type", "two/types"]);
}

#[test]
fn the_peers_address_is_appended_to_x_forwarded_for() {
    let upstream = MisbehavingUpstream::always_answering("heard");
    let (sidecar, _root) = in_front_of(&upstream);
    for (sent, wanted) in [
        (&[] as &[&str], "127.0.0.1"),
        (&["192.0.2.1"], "192.0.2.1, 127.0.0.1"),
        (&["192.0.2.1, 192.0.2.2"], "192.0.2.1, 192.0.2.2, 127.0.0.1"),
        (
            &["192.0.2.1", "192.0.2.2"],
            "192.0.2.1, 192.0.2.2, 127.0.0.1",
        ),
    ] {
        let request = sent
            .iter()
            .fold(Request::new("GET", "/v2/"), |request, value| {
                request.header("X-Forwarded-For", value)
            });
        request.send(sidecar.port).expect(200);
        let heard = upstream.heard().pop().unwrap();
        let got: Vec<_> = heard
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("X-Forwarded-For"))
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(got.join(", "), wanted);
    }
}

#[test]
fn the_answer_reaches_the_client_as_it_was_given() {
    let given = "HTTP/1.1 307 Temporary Redirect\r\n\
        Location: https://storage.test/x?sig=%2F+y\r\n\
        Set-Cookie: a=1\r\nX-Own: one\r\nSet-Cookie: b=2\r\nServer: the registry\r\n\
        Www-Authenticate: Basic realm=\"a\"\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\
        Content-Length: 4\r\n\r\nbody";
    let upstream = MisbehavingUpstream::start(move |_| Reply::Answer(given.into()));
    let (sidecar, _root) = in_front_of(&upstream);
    let mut direct = sidecar.client().at(upstream.port).get("/v2/a/blobs/x");
    let mut answer = sidecar.client().get("/v2/a/blobs/x");
    assert_eq!(answer.status, 307);
    assert_eq!(answer.body, b"body");
    for answer in [&mut direct, &mut answer] {
        answer
            .headers
            .retain(|(name, _)| name != "Connection" && name != "Date");
        // Equal names keep their order among themselves.
        answer.headers.sort_by_key(|(name, _)| name.to_lowercase());
    }
    assert_eq!(answer.headers, direct.headers);
    assert_eq!(upstream.heard().len(), 2);
}

#[test]
fn refusals_are_never_replaced() {
    let upstream = MisbehavingUpstream::start(|heard| {
        let code = heard.target.split("/code").nth(1).unwrap_or("200");
        let code = &code[..3];
        Reply::Answer(answer(
            &format!("{code} As It Is"),
            &format!("body of {code}"),
        ))
    });
    let (sidecar, _root) = in_front_of(&upstream);
    for code in [
        400, 401, 403, 404, 405, 409, 413, 416, 429, 500, 501, 502, 503, 504,
    ] {
        for (method, target) in [
            ("GET", format!("/v2/code{code}/manifests/x")),
            ("PUT", format!("/v2/code{code}/manifests/x")),
            ("POST", format!("/v2/code{code}/blobs/uploads/")),
            (
                "POST",
                format!("/v2/code{code}/blobs/uploads/?mount=x&from=y"),
            ),
        ] {
            let answer = Request::new(method, &target).send(sidecar.port);
            assert_eq!(answer.status, code, "{method} {target}");
            assert_eq!(answer.text(), format!("body of {code}"));
            assert_eq!(answer.header("Server"), None);
            assert_eq!(answer.header("Retry-After"), None);
        }
    }
    assert_eq!(upstream.heard().len(), 14 * 4);
}

#[test]
fn a_connection_can_be_used_again_and_again() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = in_front_of(&upstream);
    let mut connection = sidecar.client().connect();
    for at in 0..20 {
        let method = ["GET", "PUT", "HEAD", "POST"][at % 4];
        let body = if method == "PUT" { &b"bytes"[..] } else { b"" };
        let request = Request::new(method, &format!("/v2/{at}")).body(body);
        connection.write(&request.bytes(sidecar.port)).unwrap();
        // HEAD: the misbehaving upstream would send a body.
        if method == "HEAD" {
            break;
        }
        assert_eq!(connection.answer(method).unwrap().status, 200);
    }
}

#[test]
fn requests_that_no_registry_understands_are_refused_and_do_no_harm() {
    let upstream = MisbehavingUpstream::start(|_| Reply::Answer(ok("fine")));
    let (mut sidecar, _root) = in_front_of(&upstream);
    for request in [
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "PUT /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: nonsense\r\n\r\n",
        "nonsense\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}",
    ] {
        let mut connection = sidecar.client().connect();
        connection.write(request.as_bytes()).unwrap();
        // A refusal or a closed connection; skopeo's TLS hello must not be left waiting.
        if let Ok(answer) = connection.head() {
            assert_eq!(answer.status, 400, "{request:?}");
        }
    }
    assert_eq!(upstream.heard().len(), 0);
    assert!(sidecar.is_running());
    sidecar.client().get("/v2/").expect(200);
}

#[test]
fn nothing_of_the_admin_port_is_on_the_registrys_port() {
    let upstream = MisbehavingUpstream::always_answering("the registry");
    let (sidecar, _root) = in_front_of(&upstream);
    for target in ["/metrics", "/healthz", "/readyz", "/"] {
        assert_eq!(
            sidecar.client().get(target).expect(200).text(),
            "the registry"
        );
    }
    let metrics = support::raw_http::get(sidecar.admin, "/metrics").expect(200);
    let kind = metrics.header("Content-Type").unwrap();
    assert!(kind.starts_with("text/plain"), "{kind}");
    assert_eq!(support::raw_http::get(sidecar.admin, "/v2/").status, 404);
}

#[test]
fn requests_are_counted_by_method_and_code() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = in_front_of(&upstream);
    for method in ["GET", "GET", "PUT", "BREW"] {
        Request::new(method, "/v2/").send(sidecar.port).expect(200);
    }
    for (method, wanted) in [("GET", 2), ("PUT", 1), ("other", 1)] {
        let labels = [("method", method), ("code", "200")];
        support::wait_until("they are counted", || {
            let text = support::raw_http::get(sidecar.admin, "/metrics").text();
            text.contains(&format!("method=\"{method}\"")) || method.is_empty()
        });
        let counted = sidecar.metric("crossmount_requests_total", &labels);
        assert_eq!(support::sidecar_metrics::whole(counted), wanted, "{method}");
    }
    assert!(sidecar.metric("crossmount_build_info", &[]) > 0.0);
    let log: Vec<Value> = sidecar
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON lines only"))
        .collect();
    assert!(!log.is_empty());
}

#[test]
fn an_old_request_without_a_host_is_answered_as_by_the_registry() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    for request in [
        "GET /v2/ HTTP/1.0\r\n\r\n",
        "HEAD /v2/ HTTP/1.0\r\n\r\n",
        "GET /v2/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /v2/_catalog HTTP/1.0\r\nUser-Agent: an old health check\r\n\r\n",
    ] {
        let ask = |port| send_raw(port, request.as_bytes()).expect(200);
        let (theirs, ours) = (ask(registry.port), ask(sidecar.port));
        assert_eq!(essence(&theirs), essence(&ours), "{request:?}");
    }
}

#[test]
fn a_mount_whose_credentials_are_for_the_next_hop_alone_is_the_registrys() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(|config| {
        config["access"] = json!({"mode": "upstream"});
    });
    let digest = registry.plant("source", b"a blob");
    let mount = |options: &str, target: &str| {
        let client = sidecar.client().basic("alice", "right");
        let client = client.header("Connection", options);
        client.mount(target, &digest, "source").status
    };
    for (at, options) in ["keep-alive", "close", "Keep-Alive, Close", ""]
        .iter()
        .enumerate()
    {
        assert_eq!(mount(options, &format!("plain{at}")), 201, "{options}");
        assert_eq!(sidecar.mounted(), at as u64 + 1, "{options}");
    }
    let probes = registry.heard("PATCH").len();
    for (at, options) in [
        "Authorization",
        "authorization",
        "close, Authorization",
        "keep-alive,authorization ,close",
        "X-Other",
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(mount(options, &format!("odd{at}")), 202, "{options}");
        assert_eq!(
            sidecar.mounts_with_reason("odd_request"),
            at as u64 + 1,
            "{options}"
        );
        let target = registry.store.repository(&format!("odd{at}"));
        assert!(!target.exists(), "{options}");
    }
    assert_eq!(sidecar.mounted(), 4);
    assert_eq!(registry.heard("PATCH").len(), probes);
}

#[test]
fn a_client_that_was_refused_early_and_sends_no_more_is_let_go() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let sidecar = Sidecar::start(&registry);
    let client = sidecar.client();
    let head = client
        .request("PATCH", "/v2/a/blobs/uploads/some-session")
        .header("Content-Length", "5000000")
        .bytes(client.port);
    let mut connection = client.connect();
    connection.write(&head).unwrap();
    connection.write(b"abc").unwrap();
    connection.answer("PATCH").unwrap().expect(401);
    let start = Instant::now();
    support::wait_until("it is in flight no more", || {
        let metrics = support::raw_http::get(sidecar.admin, "/metrics").text();
        metrics.contains("\ncrossmount_requests_in_flight 0\n")
    });
    assert!(start.elapsed() < Duration::from_secs(30));
    // Nothing more comes, and the next answer of a connection that is closed is none.
    assert!(connection.head().is_err());
    drop(connection);
}
