//! Other protocols on the same port, and forms of HTTP that no registry's client uses.

use crate::needs;
use crate::support::compare::{Differences, RegistryPair};
use crate::support::digest_of;
use crate::support::figures::note;
use crate::support::raw_responses::send;
use crate::support::registry::Registry;
use crate::support::registry_client::mount_target;
use std::time::Duration;

const QUIET: Duration = Duration::from_secs(20);
const BLOB: &[u8] = b"a blob for odd protocols";

fn statuses(port: u16, request: &str) -> Vec<u16> {
    let answers = send(port, request.as_bytes(), QUIET);
    answers.iter().map(|about| about.status).collect()
}

#[derive(Clone)]
struct Case {
    what: &'static str,
    request: String,
    alone: u16,
    behind: u16,
}

/// Answered with the same status.
fn alike(what: &'static str, request: String, status: u16) -> Case {
    refused(what, request, status, status)
}

/// What the registry alone answers in one way, and the sidecar refuses in another.
fn refused(what: &'static str, request: String, alone: u16, behind: u16) -> Case {
    Case {
        what,
        request,
        alone,
        behind,
    }
}

fn request(line: &str, headers: &str) -> String {
    format!("{line}\r\nHost: registry.test\r\n{headers}Connection: close\r\n\r\n")
}

fn plainly(line: &str) -> String {
    request(line, "")
}

fn get(target: &str) -> String {
    plainly(&format!("GET {target} HTTP/1.1"))
}

fn mount(server: &str, target: &str, headers: &str) -> String {
    let target = mount_target(target, &digest_of(BLOB), "source");
    let line = format!("POST {server}{target} HTTP/1.1");
    request(&line, &format!("{headers}Content-Length: 0\r\n"))
}

fn protocols() -> Vec<Case> {
    let upgrade = |line: &str, to: &str| {
        format!(
            "{line}\r\nHost: registry.test\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
             Upgrade: {to}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let mount_to_h2c = format!(
        "POST {} HTTP/1.1",
        mount_target("h2c", &digest_of(BLOB), "source")
    );
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned();
    let hello = "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{3}\u{3}\r\n\r\n".to_owned();
    vec![
        alike("h2c", upgrade("GET /v2/ HTTP/1.1", "h2c"), 200),
        alike(
            "a websocket",
            upgrade("GET /v2/ HTTP/1.1", "websocket"),
            200,
        ),
        alike("a mount to h2c", upgrade(&mount_to_h2c, "h2c"), 201),
        refused("HTTP/2's preface", preface, 301, 400),
        alike("no version", "GET /v2/\r\n\r\n".to_owned(), 400),
        alike(
            "an old version",
            "GET /v2/ HTTP/1.0\r\n\r\n".to_owned(),
            200,
        ),
        refused("an older version", plainly("GET /v2/ HTTP/0.9"), 505, 400),
        refused("a newer version", plainly("GET /v2/ HTTP/2.0"), 505, 400),
        alike("TLS", hello, 400),
        alike("SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), 400),
    ]
}

fn targets() -> Vec<Case> {
    let here = "http://registry.test";
    let connect = |to: &str| plainly(&format!("CONNECT {to} HTTP/1.1"));
    vec![
        refused("CONNECT", connect("other.test:443"), 301, 400),
        refused("CONNECT here", connect("registry.test"), 301, 405),
        refused("CONNECT to the API", connect("/v2/"), 200, 405),
        alike("OPTIONS of all", plainly("OPTIONS * HTTP/1.1"), 200),
        alike("GET of all", get("*"), 301),
        alike("an absolute target", get("http://registry.test/v2/"), 200),
        alike(
            "an absolute https target",
            get("https://registry.test/v2/"),
            200,
        ),
        alike(
            "an absolute target that names its port",
            get("http://registry.test:80/v2/"),
            200,
        ),
        alike(
            "an absolute target in capitals",
            get("HTTP://REGISTRY.test/v2/"),
            200,
        ),
        refused(
            "an absolute target with another port",
            get("http://registry.test:443/v2/"),
            200,
            400,
        ),
        alike("another scheme", get("ftp://registry.test/v2/"), 200),
        refused(
            "another's absolute target",
            get("http://other.test/v2/"),
            200,
            400,
        ),
        refused(
            "a login in the target",
            get("http://a:b@registry.test/v2/"),
            200,
            400,
        ),
        alike("an absolute mount", mount(here, "absolute", ""), 201),
        refused(
            "another's absolute mount",
            mount("http://other.test", "others", ""),
            201,
            400,
        ),
    ]
}

fn headers() -> Vec<Case> {
    let trailer = "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n";
    let trailers = request("PUT /v2/a/manifests/b HTTP/1.1", trailer);
    let miracles = request("GET /v2/ HTTP/1.1", "Expect: miracles\r\n");
    let expecting = mount("", "expecting", "Expect: 100-continue\r\n");
    vec![
        alike(
            "trailers",
            trailers + "2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n",
            400,
        ),
        alike("an unknown expectation", miracles, 417),
        alike("a mount that expects", expecting, 201),
    ]
}

#[test]
fn a_length_beside_chunks_that_is_none_is_refused_as_by_distribution_3() {
    needs!("docker-registry");
    let pair = RegistryPair::start();
    let upload = |lengths: &str| {
        let headers = format!("{lengths}Transfer-Encoding: chunked\r\n");
        request("POST /v2/a/blobs/uploads/ HTTP/1.1", &headers) + "0\r\n\r\n"
    };
    for lengths in [
        "Content-Length: x\r\n",
        "Content-Length: -1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
    ] {
        let answered = statuses(pair.sidecar.port, &upload(lengths));
        assert_eq!(answered, [400], "{lengths}");
    }
    let one = upload("Content-Length: 5\r\n");
    assert_eq!(
        statuses(pair.sidecar.port, &one),
        statuses(pair.alone.port, &one)
    );
}

#[test]
fn no_other_protocol_is_spoken_and_odd_forms_are_the_registrys_or_refused() {
    needs!("docker-registry");
    let pair = RegistryPair::start();
    pair.prepare(|registry| {
        registry.client().upload("source", BLOB);
    });
    let mut differences = Differences::default();
    let cases = [protocols(), targets(), headers()].concat();
    for case in &cases {
        let alone = statuses(pair.alone.port, &case.request);
        differences.compare(&format!("{}: alone", case.what), &vec![case.alone], &alone);
        let behind = statuses(pair.sidecar.port, &case.request);
        differences.compare(
            &format!("{}: behind", case.what),
            &vec![case.behind],
            &behind,
        );
    }
    let linked = |registry: &Registry| {
        ["h2c", "absolute", "expecting"].map(|name| registry.store.has_link(name, &digest_of(BLOB)))
    };
    differences.compare("the links", &linked(&pair.alone), &linked(&pair.behind));
    differences.compare("mounted here", &1, &pair.sidecar.mounted());
    differences.assert_none();
    note(
        "Hostile clients",
        "other protocols and odd forms of HTTP",
        cases.len() as u64,
        "answered as by the registry alone, or refused with 400 or 405",
    );
}
