//! Kept connections that the upstream closes at the worst moment.

use super::observed_response::{ObservedResponse, send_and_observe};
use crate::support;
use support::figures::{amount, note};
use support::misbehaving_upstream::Step::{self, Finish, Next, Read, Reset, Send};
use support::misbehaving_upstream::{MisbehavingUpstream, ReceivedRequest, Reply, in_front_of, ok};
use support::raw_http::Request;
use support::sidecar::Sidecar;

/// Gives each connection one answer, and then does this to it.
pub fn leaving(nth: usize, answer: Vec<u8>, steps: &[Step]) -> Reply {
    let ends_before = matches!(steps[0], Next | Finish | Reset);
    let answer = vec![Read, Send(answer)];
    Reply::Steps(match nth {
        0 if ends_before => [&answer, steps].concat(),
        0 => answer,
        _ => steps.to_vec(),
    })
}

fn upstream(steps: Vec<Step>) -> MisbehavingUpstream {
    MisbehavingUpstream::start(move |heard| leaving(heard.nth, ok(&heard.target), &steps))
}

/// Moments at which a kept connection ends, from the last answer on.
pub fn moments() -> Vec<(&'static str, Vec<Step>)> {
    let half = || Send(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec());
    vec![
        ("with the answer", vec![Finish]),
        ("with the answer, by a reset", vec![Reset]),
        ("when the next request comes", vec![Next, Finish]),
        ("when the next request comes, by a reset", vec![Next, Reset]),
        ("after the next request's head", vec![Read, Finish]),
        (
            "after the next request's head, by a reset",
            vec![Read, Reset],
        ),
        ("in the head of the next answer", vec![Read, half(), Finish]),
        (
            "in the head of the next answer, by a reset",
            vec![Read, half(), Reset],
        ),
    ]
}

fn counted<'a>(
    heard: &'a [ReceivedRequest],
    target: &'a str,
) -> impl Iterator<Item = &'a ReceivedRequest> {
    heard.iter().filter(move |heard| heard.target == target)
}

/// Each request has a path of its own, by which the upstream's memory knows it.
fn ask(sidecar: &Sidecar, method: &str, target: &str) -> ObservedResponse {
    let mut request = Request::new(method, target);
    if ["POST", "PUT", "PATCH"].contains(&method) {
        request = request.body(b"some bytes");
    }
    send_and_observe(sidecar.port, method, &request)
}

/// A write may fail if its connection ends once it has begun to arrive: it is not sent again. A
/// busy machine lets some begin to arrive before an end that came with the last answer.
#[test]
fn a_kept_connection_that_ends_at_any_moment_fails_no_read_and_repeats_no_write() {
    let rounds = amount(12, 400);
    let methods = [
        "GET", "POST", "HEAD", "PATCH", "GET", "PUT", "GET", "DELETE",
    ];
    let (mut asked, mut all_failed) = (0, 0);
    for (moment, steps) in moments() {
        let upstream = upstream(steps);
        let (sidecar, _root) = in_front_of(&upstream, |_| ());
        let mut failed = 0;
        for round in 0..rounds {
            for (at, method) in methods.iter().enumerate() {
                let target = format!("/v2/{round}/{at}");
                let seen = ask(&sidecar, method, &target);
                asked += 1;
                let times = || counted(&upstream.heard(), &target).count();
                let is_read = ["GET", "HEAD"].contains(method);
                if !is_read && matches!(seen, ObservedResponse::Answer { status: 502, .. }) {
                    failed += 1;
                    assert!(times() <= 1, "{moment}: {method}");
                    continue;
                }
                let body = if *method == "HEAD" { "" } else { &target };
                let is_answered = matches!(&seen, ObservedResponse::Answer { status: 200, body: got, is_whole: true, .. } if got == body.as_bytes());
                assert!(is_answered, "{moment}: {method} {target}: {seen:?}");
                let most = if is_read { 3 } else { 1 };
                assert!((1..=most).contains(&times()), "{moment}: {method}");
            }
        }
        // From then on each write has a connection of its own.
        assert!(failed <= 1, "{moment}: {failed} writes failed");
        all_failed += failed;
    }
    note(
        "Upstream",
        "kept connections end with the answer, when the next request comes, after its head, in the \
         middle of its answer's head; by a close or a reset",
        asked,
        &format!(
            "every GET and HEAD was answered, sent three times at most; writes arrived once at most, \
             and {all_failed} that had begun to arrive got a 502, one for each process at most"
        ),
    );
}

#[test]
fn a_reused_connection_that_ends_in_a_body_is_not_hidden_by_a_second_response() {
    for end in [Finish, Reset] {
        let steps = vec![
            Read,
            Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\nthe beginning".to_vec()),
            end,
        ];
        let upstream = upstream(steps);
        let (sidecar, _root) = in_front_of(&upstream, |_| ());
        let mut cut = 0;
        for round in 0..amount(20, 400) {
            let target = format!("/v2/a/blobs/{round}");
            match ask(&sidecar, "GET", &target) {
                ObservedResponse::Answer {
                    is_whole: true,
                    body,
                    ..
                } => assert_eq!(body, target.as_bytes()),
                ObservedResponse::Answer { body, .. } => {
                    assert!(b"the beginning".starts_with(&body), "{body:?}");
                    cut += 1;
                }
                ObservedResponse::Nothing => panic!("no answer"),
            }
            assert_eq!(counted(&upstream.heard(), &target).count(), 1);
        }
        assert!(cut > 0, "no connection was kept");
    }
}
