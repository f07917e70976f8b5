//! Upstreams that send more than an answer.

use crate::support;
use crate::upstream_seen::{Seen, see, take};
use support::digest_of;
use support::faulty::{Faulty, Verdict, in_front_of, ok};
use support::figures::{amount, note};
use support::push::mount_target;
use support::wire::Request;

/// What comes after an answer belongs to nobody: another client must never get it for its own.
#[test]
fn more_than_an_answer_is_nobodys_answer() {
    const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine{POISON}");
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n{POISON}"
    );
    let with_body = |status| format!("HTTP/1.1 {status}\r\n\r\n{POISON}");
    let head = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{POISON}",
        POISON.len()
    );
    let cases = [
        ("GET", 200, long.clone()),
        ("GET", 200, chunked),
        ("GET", 204, with_body("204 No Content")),
        ("GET", 304, with_body("304 Not Modified")),
        ("HEAD", 404, head),
        ("HEAD", 200, long),
    ];
    let mut asked = 0;
    for on_head in [false, true] {
        for (method, status, bytes) in &cases {
            let sent = bytes.clone().into_bytes();
            let upstream = Faulty::start(move |heard| {
                if heard.target.contains("surplus") {
                    return Verdict::Answer(sent.clone());
                }
                Verdict::Answer(ok("its own"))
            });
            let (sidecar, _root) = in_front_of(&upstream, |config| {
                if on_head {
                    config["discovery"] = serde_json::json!({
                        "enabled": true, "on_head": true, "sources": "any",
                    });
                }
            });
            let target = format!("/v2/surplus/blobs/{}", digest_of(b"surplus"));
            for _ in 0..amount(8, 200) {
                let mut connection = sidecar.client().connect();
                let request = Request::new(method, &target).bytes(sidecar.port);
                connection.write(&request).unwrap();
                let seen = take(&mut connection, method);
                let is_right = matches!(&seen, Seen::Answer { status: got, .. } if got == status);
                assert!(is_right, "{method} {status}: {seen:?}");
                for method in ["HEAD", "GET"] {
                    let next = see(sidecar.port, method, &Request::new(method, "/v2/"));
                    let body: &[u8] = if method == "HEAD" { b"" } else { b"its own" };
                    let is_own = matches!(&next, Seen::Answer { status: 200, body: got, is_whole: true, .. } if got == body);
                    assert!(is_own, "after {method} {status}: {next:?}");
                    asked += 1;
                }
            }
        }
    }
    note(
        "Upstream",
        "an answer is followed by more bytes, which look like the next one's answer",
        asked,
        "nobody got them",
    );
}

/// The same behind questions of the sidecar's own, by which mounts are decided.
#[test]
fn more_than_the_answer_to_a_question_decides_nothing() {
    let allowed = String::from_utf8(support::played::allowed()).unwrap();
    let refused = String::from_utf8(support::played::refused()).unwrap();
    let upstream = support::played::Played::start(move |heard| {
        let is_question = heard.method == "PATCH" && heard.is_the_sidecars();
        is_question.then(|| Verdict::Answer(format!("{refused}{allowed}").into_bytes()))
    });
    let sidecar = upstream.sidecar(support::secured::upstream_mode);
    let digest = upstream.plant("source", b"a layer");
    for at in 0..amount(20, 200) {
        // Another user each time: a refusal is remembered for a second.
        let client = sidecar.client().basic(&format!("user{at}"), "x");
        let target = mount_target("target", &digest, "source");
        client
            .request("POST", &target)
            .send(client.port)
            .expect(202);
    }
    assert_eq!(sidecar.mounted(), 0);
    assert!(!upstream.store.repository("target").exists());
}
