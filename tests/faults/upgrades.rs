//! Other protocols on the same port, and forms of HTTP that no registry's client uses.

use crate::{needs, support};
use std::time::Duration;
use support::digest_of;
use support::faulty::{Faulty, Heard, Verdict, answer, in_front_of, ok};
use support::figures::note;
use support::pair::{Differences, Pair};
use support::push::{closing, mount_target};
use support::registry::Registry;
use support::splitting::send;
use support::wire::Connection;

const QUIET: Duration = Duration::from_secs(20);
const BLOB: &[u8] = b"a blob for odd protocols";

fn pair() -> Pair {
    let pair = Pair::start();
    pair.prepare(|registry| {
        registry.client().upload("source", BLOB);
    });
    pair
}

fn statuses(port: u16, request: &str) -> Vec<u16> {
    let answers = send(port, request.as_bytes(), QUIET);
    answers.iter().map(|about| about.status).collect()
}

/// What the registry alone answers, and what it answers behind the sidecar.
type Case = (&'static str, String, &'static [u16], &'static [u16]);

fn request(line: &str, headers: &str) -> String {
    format!("{line}\r\nHost: registry.test\r\n{headers}Connection: close\r\n\r\n")
}

#[allow(clippy::too_many_lines, reason = "a list of cases")]
fn cases() -> Vec<Case> {
    let plainly = |line: &str| request(line, "");
    let upgrade = |line: &str, to: &str| {
        format!(
            "{line}\r\nHost: registry.test\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
             Upgrade: {to}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let mount = |target: &str| mount_target(target, &digest_of(BLOB), "source");
    let post = |target: &str| format!("POST {target} HTTP/1.1");
    let get = |target: &str| plainly(&format!("GET {target} HTTP/1.1"));
    vec![
        ("h2c", upgrade("GET /v2/ HTTP/1.1", "h2c"), &[200], &[200]),
        (
            "a websocket",
            upgrade("GET /v2/ HTTP/1.1", "websocket"),
            &[200],
            &[200],
        ),
        (
            "a mount to h2c",
            upgrade(&post(&mount("h2c")), "h2c"),
            &[201],
            &[201],
        ),
        (
            "HTTP/2's preface",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            &[301],
            &[400],
        ),
        (
            "CONNECT",
            plainly("CONNECT other.test:443 HTTP/1.1"),
            &[301],
            &[400],
        ),
        (
            "CONNECT here",
            plainly("CONNECT registry.test HTTP/1.1"),
            &[301],
            &[405],
        ),
        (
            "CONNECT to the API",
            plainly("CONNECT /v2/ HTTP/1.1"),
            &[200],
            &[405],
        ),
        (
            "OPTIONS of all",
            plainly("OPTIONS * HTTP/1.1"),
            &[200],
            &[200],
        ),
        ("GET of all", get("*"), &[301], &[301]),
        (
            "an absolute target",
            get("http://registry.test/v2/"),
            &[200],
            &[200],
        ),
        (
            "an absolute https target",
            get("https://registry.test/v2/"),
            &[200],
            &[200],
        ),
        (
            "another scheme",
            get("ftp://registry.test/v2/"),
            &[200],
            &[200],
        ),
        (
            "another's absolute target",
            get("http://other.test/v2/"),
            &[200],
            &[400],
        ),
        (
            "a login in the target",
            get("http://a:b@registry.test/v2/"),
            &[200],
            &[400],
        ),
        (
            "an absolute mount",
            request(
                &post(&format!("http://registry.test{}", mount("absolute"))),
                "Content-Length: 0\r\n",
            ),
            &[201],
            &[201],
        ),
        (
            "another's absolute mount",
            request(
                &post(&format!("http://other.test{}", mount("others"))),
                "Content-Length: 0\r\n",
            ),
            &[201],
            &[400],
        ),
        ("no version", "GET /v2/\r\n\r\n".to_owned(), &[400], &[400]),
        (
            "an old version",
            "GET /v2/ HTTP/1.0\r\n\r\n".to_owned(),
            &[200],
            &[200],
        ),
        (
            "an older version",
            plainly("GET /v2/ HTTP/0.9"),
            &[505],
            &[400],
        ),
        (
            "a newer version",
            plainly("GET /v2/ HTTP/2.0"),
            &[505],
            &[400],
        ),
        (
            "TLS",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{3}\u{3}\r\n\r\n".to_owned(),
            &[400],
            &[400],
        ),
        (
            "SSH",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
            &[400],
            &[400],
        ),
        (
            "trailers",
            request(
                "PUT /v2/a/manifests/b HTTP/1.1",
                "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n",
            ) + "2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n",
            &[400],
            &[400],
        ),
        (
            "an unknown expectation",
            request("GET /v2/ HTTP/1.1", "Expect: miracles\r\n"),
            &[417],
            &[417],
        ),
        (
            "a mount that expects",
            request(
                &post(&mount("expecting")),
                "Expect: 100-continue\r\nContent-Length: 0\r\n",
            ),
            &[201],
            &[201],
        ),
    ]
}

#[test]
fn no_other_protocol_is_spoken_and_odd_forms_are_the_registrys_or_refused() {
    needs!("docker-registry");
    let pair = pair();
    let mut differences = Differences::default();
    let cases = cases();
    for (what, request, alone, behind) in &cases {
        for (who, port, wanted) in [
            ("alone", pair.alone.port, alone),
            ("behind", pair.sidecar.port, behind),
        ] {
            differences.compare(
                &format!("{what}: {who}"),
                &wanted.to_vec(),
                &statuses(port, request),
            );
        }
    }
    let linked = |registry: &Registry| {
        ["h2c", "absolute", "expecting"].map(|name| registry.store.has_link(name, &digest_of(BLOB)))
    };
    differences.compare("the links", &linked(&pair.alone), &linked(&pair.behind));
    differences.compare("mounted here", &0, &pair.sidecar.mounted());
    differences.none();
    note(
        "Hostile clients",
        "other protocols and odd forms of HTTP",
        cases.len() as u64,
        "answered as by the registry alone, or refused with 400 or 405",
    );
}

#[test]
fn an_upstream_that_switches_protocols_gets_no_tunnel() {
    // The sample handshake of RFC 6455: what is a valid one may be treated in another way.
    let websocket =
        "websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let upstream = Faulty::start(move |heard| {
        let to = heard.target.rsplit('/').next().unwrap();
        let switching = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
        Verdict::AnswerAndClose([switching.as_bytes(), &ok("through")].concat())
    });
    let (mut sidecar, _root) = in_front_of(&upstream, |_| ());
    let cases = [
        ("GET", "/v2/x", "x"),
        ("POST", "/v2/x", "x"),
        ("GET", "/v2/websocket", websocket),
    ];
    for (method, target, to) in cases {
        let mut connection = Connection::to(sidecar.port).unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: registry.test\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\r\n"
        );
        connection.write(request.as_bytes()).unwrap();
        let answer = connection.head();
        let what = format!("{method} {target}: {answer:?}");
        assert!(!answer.is_ok_and(|head| head.status == 101), "{what}");
        let heard = upstream.heard();
        let is_it = |heard: &&Heard| heard.method == method && heard.target == target;
        let mut heard = heard.iter().filter(is_it).peekable();
        assert!(heard.peek().is_some(), "refused: {what}");
        assert!(heard.all(|it| it.header("Upgrade").is_none()), "{what}");
    }
    assert!(sidecar.is_running());
}

#[test]
fn a_body_that_waits_for_the_registrys_word_is_sent_on_it() {
    needs!("docker-registry");
    let pair = pair();
    let bytes = b"sent on a word";
    for (registry, port) in [
        (&pair.alone, pair.alone.port),
        (&pair.behind, pair.sidecar.port),
    ] {
        let opened = registry.client().begin("patient").expect(202);
        let mut connection = Connection::to(port).unwrap();
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            closing(&opened, &digest_of(bytes)),
            bytes.len(),
        );
        connection.write(head.as_bytes()).unwrap();
        // Without the word the body would never be sent.
        assert_eq!(connection.head().unwrap().status, 100);
        connection.write(bytes).unwrap();
        connection.answer("PUT").unwrap().expect(201);
    }
    // A registry that is slow to say it, and one that says no at once.
    let upstream = Faulty::start(|heard| {
        if heard.target == "/v2/no" {
            return Verdict::AnswerAndClose(answer("413 Too Large", "no"));
        }
        Verdict::Pieces(vec![ok("got it")], Duration::from_millis(1500))
    });
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    for (target, status) in [("/v2/no", 413), ("/v2/slow", 200)] {
        let mut connection = Connection::to(sidecar.port).unwrap();
        let head = format!(
            "PATCH {target} HTTP/1.1\r\nHost: registry.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        );
        connection.write(head.as_bytes()).unwrap();
        if status == 200 {
            // As a client does that has waited long enough.
            std::thread::sleep(Duration::from_millis(500));
            connection.write(b"abc").unwrap();
        }
        connection.answer("PATCH").unwrap().expect(status);
    }
}
