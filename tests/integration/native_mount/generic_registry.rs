//! Any registry: an upstream that answers each status to a mount.

use crate::support;
use base64_url::encode;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;
use support::misbehaving_upstream::{MisbehavingUpstream, ReceivedRequest, Reply, answer};
use support::raw_http::{Answer, Connection, Request};
use support::registry_client::{Client, mount_target};
use support::sidecar::Sidecar;

/// Base64 without padding and with the letters of a URL, as tokens are written.
mod base64_url {
    pub fn encode(text: &str) -> String {
        let padded = crate::support::base64(text.as_bytes());
        padded
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_")
    }
}

const DIGEST: &str = "sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865";
const CHALLENGE: &str = r#"Bearer realm="http://h/token",service="s",scope="repository:src:pull",error="insufficient_scope""#;

fn is_mount(heard: &ReceivedRequest) -> bool {
    heard.target.contains("mount=")
}

/// A registry that answers a mount with this status, and the plain upload with another one.
fn registry(mount: &'static str, plain: &'static str) -> MisbehavingUpstream {
    MisbehavingUpstream::start(move |heard| {
        let said = if is_mount(heard) { mount } else { plain };
        let body = format!("answer to {}", heard.target);
        Reply::Answer(if said.starts_with("401") {
            format!(
                "HTTP/1.1 {said}\r\nWWW-Authenticate: {CHALLENGE}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        } else {
            answer(said, &body)
        })
    })
}

/// What the client gets, and how often the registry was asked for it.
fn mounted(mount: &'static str, plain: &'static str) -> (Answer, usize) {
    let upstream = registry(mount, plain);
    let sidecar = Sidecar::generic(&upstream.url(), |_| ());
    let answer = sidecar.client().mount("dst", DIGEST, "src");
    let asked = upstream.all();
    assert!(
        asked
            .iter()
            .all(|heard| heard.method == "POST" && !heard.is_the_sidecars())
    );
    (answer, asked.len())
}

#[test]
fn answers_that_break_clients_are_replaced_by_the_plain_uploads() {
    for status in [
        "400 Bad Request",
        "403 Forbidden",
        "404 Not Found",
        "405 Method Not Allowed",
    ] {
        for plain in [
            "202 Accepted",
            "401 Unauthorized",
            "403 Forbidden",
            "405 No",
            "500 Oh",
        ] {
            let (answer, asked) = mounted(status, plain);
            assert_eq!(answer.status.to_string(), plain[..3], "{status}");
            assert_eq!(answer.text(), "answer to /v2/dst/blobs/uploads/");
            assert_eq!(asked, 2);
        }
    }
}

#[test]
fn every_other_answer_is_the_registrys_own_and_nothing_is_asked_again() {
    for status in [
        "200 OK",
        "201 Created",
        "202 Accepted",
        "301 Moved",
        "307 Temporary Redirect",
        "402 Pay",
        "409 Conflict",
        "416 Range",
        "422 Unprocessable",
        "429 Too Many Requests",
        "500 Oh",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Timeout",
        "507 Full",
    ] {
        let (answer, asked) = mounted(status, "202 Accepted");
        assert_eq!(answer.status.to_string(), status[..3]);
        let asked_for = mount_target("dst", DIGEST, "src");
        assert_eq!(answer.text(), format!("answer to {asked_for}"));
        assert_eq!(asked, 1, "{status}");
    }
}

#[test]
fn the_configuration_chooses_which_responses_are_replaced() {
    for (statuses, mount, expected) in [
        (json!([]), "404 Not Found", 404),
        (json!([422]), "404 Not Found", 404),
        (json!([422]), "422 Unprocessable", 202),
    ] {
        let upstream = registry(mount, "202 Accepted");
        let sidecar = Sidecar::generic(&upstream.url(), |config| {
            config["mend"] = json!({"statuses": statuses});
        });
        sidecar
            .client()
            .mount("dst", DIGEST, "src")
            .expect(expected);
    }
}

#[test]
fn an_answer_is_passed_on_byte_for_byte() {
    let head = "HTTP/1.1 409 Really Odd\r\nX-One: a\r\nx-one: b\r\nSet-Cookie: c=d\r\n\
                Content-Type: text/Plain\r\nDate: Sun, 22 Nov 2026 19:22:50 GMT\r\n";
    for framed in [
        format!("{head}Content-Length: 5\r\n\r\nhello"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        format!("{head}\r\nhello"),
    ] {
        let bytes = framed.into_bytes();
        let upstream = MisbehavingUpstream::start(move |_| Reply::AnswerAndClose(bytes.clone()));
        let sidecar = Sidecar::generic(&upstream.url(), |_| ());
        let mut mount = sidecar.client().mount("dst", DIGEST, "src");
        // The same answer to something that is passed through.
        let mut other = sidecar
            .client()
            .request("POST", "/v2/dst/other")
            .send(sidecar.port);
        assert_eq!(mount.status, 409);
        assert_eq!(mount.text(), "hello");
        for answer in [&mut mount, &mut other] {
            // Pingora writes it, and a second may have passed.
            answer.headers.retain(|(name, _)| name != "Date");
        }
        assert_eq!(mount.headers, other.headers);
        assert!(
            mount
                .headers
                .contains(&("x-one".to_owned(), "b".to_owned()))
        );
    }
}

#[test]
fn an_answer_is_passed_on_while_it_still_comes() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let (go_on, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = upstream.accept().unwrap();
        let mut asked = [0; 4096];
        let _ = stream.read(&mut asked).unwrap();
        let begun = b"HTTP/1.1 409 Conflict\r\nContent-Length: 10\r\n\r\nbegun";
        stream.write_all(begun).unwrap();
        // The rest comes only when the client has this much.
        told.recv().unwrap();
        stream.write_all(b"ended").unwrap();
    });
    let unused = registry("201 Created", "202 Accepted");
    let sidecar = Sidecar::generic(&unused.url(), |config| {
        config["upstream"]["url"] = json!(url);
    });
    let mut connection = Connection::to(sidecar.port).unwrap();
    let request = Request::new("POST", &mount_target("dst", DIGEST, "src"));
    connection.write(&request.bytes(sidecar.port)).unwrap();
    let head = connection.head().unwrap();
    assert_eq!(head.status, 409);
    let (mut got, mut go_on) = (Vec::new(), Some(go_on));
    let read = connection.body(&head, |piece| {
        got.extend_from_slice(piece);
        if got.len() >= 5
            && let Some(go_on) = go_on.take()
        {
            go_on.send(()).unwrap();
        }
    });
    read.unwrap();
    assert_eq!(got, b"begunended");
}

#[test]
fn a_client_that_leaves_takes_its_mount_with_it() {
    let upstream = MisbehavingUpstream::start(|_| {
        std::thread::sleep(Duration::from_secs(3600));
        Reply::Close
    });
    let sidecar = Sidecar::generic(&upstream.url(), |_| ());
    let mut connection = Connection::to(sidecar.port).unwrap();
    let request = Request::new("POST", &mount_target("dst", DIGEST, "src"));
    connection.write(&request.bytes(sidecar.port)).unwrap();
    support::wait_until("the registry is asked", || upstream.all().len() == 1);
    drop(connection);
    support::wait_until("nothing is in flight", || {
        let text = support::raw_http::get(sidecar.admin, "/metrics").text();
        text.contains("\ncrossmount_requests_in_flight 0\n")
    });
}

#[test]
fn the_mount_goes_as_it_came_and_the_upload_without_it() {
    let upstream = registry("404 Not Found", "202 Accepted");
    let sidecar = Sidecar::generic(&upstream.url(), |_| ());
    let query = format!("origin=h%3a1&fr%6fm=src&mount={DIGEST}&ns=x");
    sidecar
        .client()
        .header("X-Mine", "yes")
        .header("Authorization", "Basic YTpi")
        .request("POST", &format!("/v2/dst/blobs/uploads/?{query}"))
        .header("Host", "registry.example")
        .send(sidecar.port)
        .expect(202);
    let asked = upstream.all();
    assert_eq!(asked[0].target, format!("/v2/dst/blobs/uploads/?{query}"));
    assert_eq!(asked[1].target, "/v2/dst/blobs/uploads/?origin=h%3a1&ns=x");
    for heard in asked {
        assert_eq!(heard.header("Host"), Some("registry.example"));
        assert_eq!(heard.header("Authorization"), Some("Basic YTpi"));
        assert_eq!(heard.header("X-Mine"), Some("yes"));
        assert_eq!(heard.header("Content-Length"), Some("0"));
        assert_eq!(heard.header("X-Forwarded-For"), Some("127.0.0.1"));
        assert!(heard.header("X-Request-Id").is_some());
    }
    assert_eq!(sidecar.mounts("forwarded", "mended"), 1);
}

#[test]
fn a_mount_in_an_unusual_form_is_mended_too_and_one_with_a_body_is_not() {
    let upstream = registry("400 Bad Request", "202 Accepted");
    let sidecar = Sidecar::generic(&upstream.url(), |_| ());
    let begin = "/v2/dst/blobs/uploads/";
    for query in [
        format!("mount={DIGEST}"),
        format!("mount={}&from=src", DIGEST.to_uppercase()),
        format!("mount={DIGEST}&from=a&from=b"),
        "mount=sha512:ab&from=src".to_owned(),
        "mount=&from=".to_owned(),
    ] {
        let request = sidecar
            .client()
            .request("POST", &format!("{begin}?{query}"));
        request.send(sidecar.port).expect(202);
    }
    for (query, body) in [
        (format!("mount={DIGEST}&from=src&digest={DIGEST}"), &b""[..]),
        (format!("mount={DIGEST}&from=src"), b"bytes"),
    ] {
        let request = sidecar
            .client()
            .request("POST", &format!("{begin}?{query}"));
        request.body(body).send(sidecar.port).expect(400);
    }
    assert_eq!(sidecar.mounts_with_reason("mended"), 5);
}

/// A token that says this of its access; who believes it is the registry's business.
fn bearing(sidecar: &Sidecar, subject: &str, access: &str) -> Client {
    let claims = encode(&format!(r#"{{"sub":"{subject}","access":{access}}}"#));
    sidecar.client().bearer(&format!("e30.{claims}.c2ln"))
}

const ON_TARGET: &str = r#"[{"type":"repository","name":"dst","actions":["pull","push"]}]"#;
const DENIED: &str = r#"[{"type":"repository","name":"src","actions":[]}]"#;

#[test]
fn who_lacks_a_scope_sees_the_challenge_and_who_was_denied_it_gets_an_upload() {
    let upstream = registry("401 Unauthorized", "202 Accepted");
    let sidecar = Sidecar::generic(&upstream.url(), |_| ());
    let mount = |client: &Client| client.mount("dst", DIGEST, "src").status;
    let anonymous = sidecar.client().mount("dst", DIGEST, "src").expect(401);
    assert_eq!(anonymous.header("WWW-Authenticate"), Some(CHALLENGE));
    assert_eq!(mount(&sidecar.client()), 401);
    let alice = bearing(&sidecar, "alice", ON_TARGET);
    assert_eq!(mount(&alice), 401);
    // She fetched another token, which does not name the source either.
    assert_eq!(mount(&bearing(&sidecar, "alice", "[]")), 202);
    let elsewhere = alice.mount("dst", DIGEST, "src2");
    assert_eq!(elsewhere.status, 401);
    assert_eq!(mount(&bearing(&sidecar, "bob", ON_TARGET)), 401);
    assert_eq!(mount(&bearing(&sidecar, "carol", DENIED)), 202);
    assert_eq!(mount(&sidecar.client().basic("dave", "secret")), 202);
    assert_eq!(sidecar.mounts("forwarded", "denied"), 8);
}

#[test]
fn who_may_not_push_either_gets_the_answer_to_the_mount() {
    for plain in ["401 Unauthorized", "403 Forbidden", "500 Oh"] {
        let upstream = registry("401 Unauthorized", plain);
        let sidecar = Sidecar::generic(&upstream.url(), |_| ());
        let mount = mount_target("dst", DIGEST, "src");
        for client in [
            bearing(&sidecar, "alice", DENIED),
            sidecar.client().basic("dave", "x"),
        ] {
            let answer = client.mount("dst", DIGEST, "src").expect(401);
            assert_eq!(answer.text(), format!("answer to {mount}"));
        }
    }
}

#[test]
fn in_a_name_that_the_registry_has_not_verified_nothing_is_remembered_or_shown() {
    let upstream = MisbehavingUpstream::start(|heard| {
        let said = if !is_mount(heard) {
            return Reply::Answer(answer("202 Accepted", ""));
        } else if heard.header("X-Genuine").is_some() {
            CHALLENGE.to_owned()
        } else {
            CHALLENGE.replace(",error=\"insufficient_scope\"", "")
        };
        let head = format!("HTTP/1.1 401 No\r\nWWW-Authenticate: {said}\r\n");
        Reply::Answer((head + "Content-Length: 0\r\n\r\n").into_bytes())
    });
    let sidecar = Sidecar::generic(&upstream.url(), |_| ());
    let made_up = bearing(&sidecar, "alice", "[]");
    let genuine = bearing(&sidecar, "alice", ON_TARGET).header("X-Genuine", "yes");
    let mount = |client: &Client| client.mount("dst", DIGEST, "src").status;
    assert_eq!(mount(&made_up), 401);
    assert_eq!(mount(&genuine), 401, "as if nobody had used her name");
    let before = upstream.all().len();
    assert_eq!(mount(&made_up), 401, "as if she had asked nothing");
    assert_eq!(upstream.all().len(), before + 1);
    assert_eq!(mount(&genuine), 202);
}

#[test]
fn a_challenge_stays_if_configured() {
    let upstream = registry("401 Unauthorized", "202 Accepted");
    let sidecar = Sidecar::generic(&upstream.url(), |config| {
        config["mount"]["source_denied"] = json!("challenge");
    });
    bearing(&sidecar, "carol", DENIED)
        .mount("dst", DIGEST, "src")
        .expect(401);
    assert_eq!(upstream.all().len(), 1);
}

#[test]
fn a_registry_without_a_response_is_reported_unreachable() {
    let upstream = MisbehavingUpstream::start(|_| Reply::Close);
    let broken = Sidecar::generic(&upstream.url(), |_| ());
    broken.client().mount("dst", DIGEST, "src").expect(502);
    assert_eq!(upstream.all().len(), 1);
    assert_eq!(broken.mounts("forwarded", "upstream_unavailable"), 1);
    let absent = Sidecar::generic(&upstream.url(), |config| {
        config["upstream"]["url"] = json!(format!("http://127.0.0.1:{}", support::free_port()));
    });
    let answer = absent.client().mount("dst", DIGEST, "src").expect(503);
    assert!(answer.text().contains("UNAVAILABLE"), "{}", answer.text());
    // Where the plain upload fails, the answer to the mount is there all the same.
    let upstream = MisbehavingUpstream::start(|heard| {
        if is_mount(heard) {
            Reply::Answer(answer_404())
        } else {
            Reply::Close
        }
    });
    let half = Sidecar::generic(&upstream.url(), |_| ());
    half.client().mount("dst", DIGEST, "src").expect(404);
    assert_eq!(upstream.all().len(), 2);
}

fn answer_404() -> Vec<u8> {
    answer("404 Not Found", "")
}
