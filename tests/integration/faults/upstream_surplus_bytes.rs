//! Upstreams that send more than an answer.

use super::observed_response::{ObservedResponse, observe, send_and_observe};
use crate::support;
use std::thread::sleep;
use std::time::Duration;
use support::digest_of;
use support::figures::{amount, note};
use support::misbehaving_upstream::Step::{Read, Send, Wait};
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, in_front_of, ok};
use support::raw_http::Request;
use support::registry_client::mount_target;
use support::sidecar::Sidecar;

const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

/// When the rest comes: with the answer, or on a connection that is kept by then.
const WHEN: [Option<Duration>; 2] = [None, Some(Duration::from_millis(20))];

/// Answers to which nothing is missing, with what they are answers to.
fn cases() -> [(&'static str, u16, String); 6] {
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n";
    let head = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n",
        POISON.len()
    );
    [
        ("GET", 200, long.to_owned()),
        ("GET", 200, chunked.to_owned()),
        ("GET", 204, "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
        ("GET", 304, "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned()),
        ("HEAD", 404, head),
        ("HEAD", 200, long.to_owned()),
    ]
}

/// An upstream that sends this answer and more, and anything else its own answer.
fn poisoning(answer: String, when: Option<Duration>) -> MisbehavingUpstream {
    MisbehavingUpstream::start(move |heard| {
        if !heard.target.contains("surplus") {
            return Reply::Answer(ok("its own"));
        }
        match when {
            None => Reply::Answer(format!("{answer}{POISON}").into_bytes()),
            Some(pause) => Reply::Steps(vec![
                Read,
                Send(answer.clone().into()),
                Wait(pause),
                Send(POISON.into()),
            ]),
        }
    })
}

/// What comes after an answer belongs to nobody: another client must never get it for its own.
#[test]
fn surplus_bytes_of_a_response_reach_no_client() {
    let target = format!("/v2/surplus/blobs/{}", digest_of(b"surplus"));
    let mut asked = 0;
    for (on_head, when) in [false, true]
        .into_iter()
        .flat_map(|on| WHEN.map(|when| (on, when)))
    {
        for (method, status, answer) in cases() {
            let upstream = poisoning(answer, when);
            let (sidecar, _root) = in_front_of(&upstream, |config| {
                if on_head {
                    config["discovery"] = serde_json::json!({
                        "enabled": true, "on_head": true, "sources": "any",
                    });
                }
            });
            let times = if when.is_some() {
                amount(2, 20)
            } else {
                amount(8, 200)
            };
            for _ in 0..times {
                let mut connection = sidecar.client().connect();
                let request = Request::new(method, &target).bytes(sidecar.port);
                connection.write(&request).unwrap();
                let seen = observe(&mut connection, method);
                let is_right =
                    matches!(&seen, ObservedResponse::Answer { status: got, .. } if *got == status);
                assert!(is_right, "{method} {status}: {seen:?}");
                // So that the rest has come, and nobody waits for an answer yet.
                sleep(when.unwrap_or_default() * 10);
                for next in ["HEAD", "GET"] {
                    is_its_own(&sidecar, next, &format!("{method} {status} {when:?}"));
                    asked += 1;
                }
            }
        }
    }
    note(
        "Upstream",
        "an answer is followed by more bytes, at once or a moment later, which look like the next \
         one's answer",
        asked,
        "no client got them",
    );
}

#[track_caller]
fn is_its_own(sidecar: &Sidecar, method: &str, after: &str) {
    let next = send_and_observe(sidecar.port, method, &Request::new(method, "/v2/"));
    let wanted: &[u8] = if method == "HEAD" { b"" } else { b"its own" };
    let ObservedResponse::Answer {
        status: 200,
        body,
        is_whole: true,
        headers,
    } = &next
    else {
        panic!("after {after}: {next:?}");
    };
    // A HEAD's answer tells whose it is by its length alone.
    let length = ("Content-Length".to_owned(), "7".to_owned());
    assert!(
        body == wanted && headers.contains(&length),
        "after {after}: {next:?}"
    );
}

/// The same behind questions of the sidecar's own, by which mounts are decided.
#[test]
fn more_than_the_answer_to_a_question_decides_nothing() {
    let allowed = String::from_utf8(support::scripted_registry::allowed()).unwrap();
    let refused = String::from_utf8(support::scripted_registry::refused()).unwrap();
    let upstream = support::scripted_registry::ScriptedRegistry::start(move |heard| {
        let is_question = heard.method == "PATCH" && heard.is_the_sidecars();
        is_question.then(|| Reply::Answer(format!("{refused}{allowed}").into_bytes()))
    });
    let sidecar = upstream.sidecar(support::access_control::upstream_mode);
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
