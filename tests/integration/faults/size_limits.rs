//! Long targets, long headers and many of them: answered as by the registry alone, or refused.

use crate::{needs, support};
use std::time::Duration;
use support::compare::RegistryPair;
use support::figures::{amount, note};
use support::raw_http::Connection;
use support::raw_responses::{About, send};
use support::wait_until;

const KIB: usize = 1024;
/// In bytes: what any client may send.
const USUAL: usize = 32 * KIB;
/// Headers that any client may send.
const USUAL_COUNT: usize = 200;

fn statuses(answers: &[About]) -> Vec<u16> {
    answers.iter().map(|about| about.status).collect()
}

/// Sends the request to both; whether the sidecar let it through, which it must up to `usual`.
#[track_caller]
fn compare(pair: &RegistryPair, what: &str, request: &str, is_usual: bool) -> bool {
    let quiet = Duration::from_secs(20);
    let ask = |port| statuses(&send(port, request.as_bytes(), quiet));
    let (alone, behind) = (ask(pair.alone.port), ask(pair.sidecar.port));
    if alone == behind {
        return true;
    }
    assert!(!is_usual, "{what}: alone {alone:?}, behind {behind:?}");
    // An answer may be lost where the connection is closed before all of a request was read.
    assert!(
        behind.is_empty() || behind == [400],
        "{what}: alone {alone:?}, behind {behind:?}"
    );
    false
}

/// The largest that goes through.
fn largest(
    pair: &RegistryPair,
    what: &str,
    usual: usize,
    sizes: &[usize],
    request: impl Fn(usize) -> String,
) {
    let through: Vec<_> = sizes
        .iter()
        .filter(|size| {
            let what = format!("{what} {size}");
            compare(pair, &what, &request(**size), **size <= usual)
        })
        .collect();
    let largest = through.iter().max().unwrap();
    note(
        "Hostile clients",
        &format!("{what} up to {}", sizes.iter().max().unwrap()),
        sizes.len() as u64,
        &format!("as by the registry alone up to {largest}, or refused with 400"),
    );
}

const END: &str = "Host: registry.test\r\nConnection: close\r\n";

#[test]
fn sizes_are_answered_as_by_the_registry_or_refused() {
    needs!("docker-registry");
    let pair = RegistryPair::start();
    let sizes: Vec<_> = [
        8, 16, 32, 60, 63, 64, 65, 100, 256, 512, 1000, 1023, 1024, 1100, 2048,
    ]
    .map(|kib| kib * KIB)
    .to_vec();
    let long = |size: usize| "a".repeat(size);
    largest(&pair, "bytes of a query", USUAL, &sizes, |size| {
        format!("GET /v2/?x={} HTTP/1.1\r\n{END}\r\n", long(size))
    });
    largest(&pair, "bytes of a path", USUAL, &sizes, |size| {
        format!("GET /v2/{} HTTP/1.1\r\n{END}\r\n", long(size))
    });
    largest(&pair, "bytes of a mount's query", USUAL, &sizes, |size| {
        format!(
            "POST /v2/to/blobs/uploads/?mount={}&from=source HTTP/1.1\r\n{END}Content-Length: 0\r\n\r\n",
            long(size)
        )
    });
    largest(&pair, "bytes of a header", USUAL, &sizes, |size| {
        format!("GET /v2/ HTTP/1.1\r\n{END}X-Long: {}\r\n\r\n", long(size))
    });
    largest(&pair, "bytes of a token", USUAL, &sizes, |size| {
        format!(
            "GET /v2/ HTTP/1.1\r\n{END}Authorization: Bearer {}\r\n\r\n",
            long(size)
        )
    });
    largest(&pair, "bytes of a header's name", 8 * KIB, &sizes, |size| {
        format!("GET /v2/ HTTP/1.1\r\n{END}{}: x\r\n\r\n", long(size))
    });
    let counts = [10, 100, 200, 250, 254, 255, 256, 300, 1000, 10_000];
    largest(&pair, "headers", USUAL_COUNT, &counts, |count| {
        let headers: Vec<_> = (0..count).map(|at| format!("X-{at}: y\r\n")).collect();
        let headers = headers.concat();
        format!("GET /v2/ HTTP/1.1\r\n{END}{headers}\r\n")
    });
    largest(
        &pair,
        "times the same header",
        USUAL_COUNT,
        &counts,
        |count| format!("GET /v2/ HTTP/1.1\r\n{END}{}\r\n", "X: y\r\n".repeat(count)),
    );
    pair.sidecar.client().get("/v2/").expect(200);
}

#[test]
fn heads_that_do_not_end_take_no_more_memory_than_they_send() {
    needs!("docker-registry");
    let pair = RegistryPair::start();
    let (many, size) = (amount(40, 100), 900 * KIB);
    let before = pair.sidecar.memory("VmRSS");
    let head = format!("GET /v2/ HTTP/1.1\r\nX: {}", "a".repeat(size));
    let unended: Vec<_> = (0..many)
        .map(|_| {
            let mut connection = Connection::to(pair.sidecar.port).unwrap();
            connection.write(head.as_bytes()).unwrap();
            connection
        })
        .collect();
    pair.sidecar.client().get("/v2/").expect(200);
    drop(unended);
    let peak = pair.sidecar.memory("VmHWM");
    // A buffer that grows is twice as large in the end, and beside the smaller one for a moment.
    let most = before + many * 4 * (size / KIB) as u64;
    assert!(peak < most, "{peak} kB of {most}");
    let heads = many * (size / KIB) as u64 / 1024;
    note(
        "Hostile clients",
        &format!("heads of 900 KiB without an end, {heads} MiB in all"),
        many,
        &format!(
            "memory {} MiB at most, {} before",
            peak / 1024,
            before / 1024
        ),
    );
}

#[test]
fn a_head_larger_than_a_mebibyte_is_refused_before_it_ends() {
    needs!("docker-registry");
    let pair = RegistryPair::start();
    let mut connection = Connection::to(pair.sidecar.port).unwrap();
    let mut sent = 0;
    let _ = connection.write(b"GET /v2/ HTTP/1.1\r\nX: ");
    wait_until("no more is taken", || {
        let piece = vec![b'a'; 64 * KIB];
        sent += piece.len();
        connection.write(&piece).is_err()
    });
    assert!(sent < 64 * 1024 * KIB, "{sent} bytes");
}
