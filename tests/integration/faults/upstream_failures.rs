//! Kinds of requests, and kinds of upstreams that fail.

use crate::support;
use support::misbehaving_upstream::Step::{self, Finish, Read, Reset, Send};
use support::misbehaving_upstream::answer;
use support::raw_http::Request;
use support::registry_client::mount_target;
use support::{bytes_from, digest_of};

/// Whether the upstream itself can be compared, or says what every client reads differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// A client without the sidecar in between says what is to be seen.
    Clear,
    /// No answer at all.
    Rubbish,
}

pub struct Fault {
    pub name: &'static str,
    pub sense: Sense,
    pub steps: Vec<Step>,
}

pub struct Asked {
    pub name: &'static str,
    pub method: &'static str,
    pub request: Request,
}

/// Every kind of request that a client of a registry makes.
pub fn requests() -> Vec<Asked> {
    let digest = digest_of(b"a layer");
    let session = "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000001";
    let bytes = bytes_from("an upload", 50_000);
    let kind = |name, method: &'static str, target: &str, body: &[u8]| Asked {
        name,
        method,
        request: Request::new(method, target).body(body),
    };
    let mut chunked = b"c350\r\n".to_vec();
    chunked.extend_from_slice(&bytes);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let mut in_chunks = kind("PATCH in chunks", "PATCH", session, &chunked);
    in_chunks.request = in_chunks.request.header("Transfer-Encoding", "chunked");
    let blob = format!("/v2/a/blobs/{digest}");
    let closing = format!("{session}?digest={digest}");
    let mount = |source| mount_target("b", &digest, source);
    vec![
        kind("GET of the base", "GET", "/v2/", b""),
        kind("GET of a blob", "GET", &blob, b""),
        kind("HEAD of a blob", "HEAD", &blob, b""),
        kind("GET of a manifest", "GET", "/v2/a/manifests/v1", b""),
        kind("HEAD of a manifest", "HEAD", "/v2/a/manifests/v1", b""),
        kind("POST of an upload", "POST", "/v2/a/blobs/uploads/", b""),
        kind("PATCH with a length", "PATCH", session, &bytes),
        in_chunks,
        kind("PUT without a body", "PUT", &closing, b""),
        kind("PUT with the blob", "PUT", &closing, &bytes),
        kind("PUT of a manifest", "PUT", "/v2/a/manifests/v1", b"{}"),
        kind("DELETE of a blob", "DELETE", &blob, b""),
        kind("DELETE of an upload", "DELETE", session, b""),
        kind("a mount of what is not there", "POST", &mount("none"), b""),
        kind("an odd mount", "POST", &mount("NONE"), b""),
    ]
}

/// Upstreams that give no answer, or a broken one, or one that nobody wants.
pub fn faults() -> Vec<Fault> {
    // Answers come first: some questions are not asked again at once where none came.
    let mut faults = refusals();
    faults.extend(silent_ends());
    faults.extend(cut_bodies());
    faults.extend(rubbish());
    faults
}

fn fault(name: &'static str, steps: Vec<Step>) -> Fault {
    Fault {
        name,
        sense: Sense::Clear,
        steps,
    }
}

fn text(text: &str) -> Step {
    Send(text.into())
}

fn silent_ends() -> Vec<Fault> {
    let half = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Le";
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    vec![
        fault("closes at the head", vec![Finish]),
        fault("resets at the head", vec![Reset]),
        fault("closes after the body", vec![Read, Finish]),
        fault("resets after the body", vec![Read, Reset]),
        fault("half a status line", vec![Read, text("HTTP/1."), Finish]),
        fault("half a head", vec![Read, text(half), Finish]),
        fault("half a head and a reset", vec![Read, text(half), Reset]),
        fault("an interim answer alone", vec![Read, text(early), Finish]),
    ]
}

fn cut_bodies() -> Vec<Fault> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n";
    let long = || {
        let mut bytes = format!("{head}Content-Length: 90000\r\n\r\n").into_bytes();
        bytes.extend(bytes_from("half", 40_000));
        Send(bytes)
    };
    let nothing = || text(&format!("{head}Content-Length: 90000\r\n\r\n"));
    let chunks = |chunks: &str| text(&format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}"));
    let open = || text(&format!("{head}\r\nuntil the end"));
    // As a registry says it, in JSON; which upstream it was need not be known from half of it.
    let said = |status: &str| {
        text(&format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n\
             {{\"errors\":[{{\"code\":"
        ))
    };
    let said_in_chunks = text(
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\nb\r\n{\"errors\":[\r\n",
    );
    vec![
        fault("a head and no body", vec![Read, nothing(), Finish]),
        fault("a head and a reset", vec![Read, nothing(), Reset]),
        fault("half a body", vec![Read, long(), Finish]),
        fault("half a body and a reset", vec![Read, long(), Reset]),
        fault(
            "no last chunk",
            vec![Read, chunks("5\r\nfirst\r\n"), Finish],
        ),
        fault("half a chunk", vec![Read, chunks("50\r\nfirst"), Finish]),
        fault("no chunk", vec![Read, chunks(""), Finish]),
        fault(
            "half of the last chunk",
            vec![Read, chunks("5\r\nfirst\r\n0\r\n"), Finish],
        ),
        fault(
            "a reset between chunks",
            vec![Read, chunks("5\r\nfirst\r\n"), Reset],
        ),
        fault(
            "a chunk whose size is no number",
            vec![Read, chunks("5\r\nfirst\r\nxyz\r\nmore\r\n"), Finish],
        ),
        fault("a body until the end", vec![Read, open(), Finish]),
        fault("a body until a reset", vec![Read, open(), Reset]),
        fault("half a 404", vec![Read, said("404 Not Found"), Finish]),
        fault(
            "half a 404 and a reset",
            vec![Read, said("404 Not Found"), Reset],
        ),
        fault(
            "a 404 without its last chunk",
            vec![Read, said_in_chunks, Finish],
        ),
        fault(
            "half a 500",
            vec![Read, said("500 Internal Server Error"), Finish],
        ),
        fault(
            "half a 500 and a reset",
            vec![Read, said("500 Internal Server Error"), Reset],
        ),
    ]
}

fn refusals() -> Vec<Fault> {
    let page = "<html>a proxy in between</html>";
    let wait = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nwait";
    let large =
        "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
    let said = |status| vec![Read, Send(answer(status, page))];
    vec![
        fault("429", vec![Read, text(wait)]),
        fault("429 and a close", vec![Read, text(wait), Finish]),
        fault("500", said("500 Internal Server Error")),
        fault("502 of its own", said("502 Bad Gateway")),
        fault("503 of its own", said("503 Service Unavailable")),
        fault("504 of its own", said("504 Gateway Timeout")),
        fault("507", said("507 Insufficient Storage")),
        fault("a page with 200", said("200 OK")),
        fault("a refusal before the body", vec![text(large), Finish]),
    ]
}

fn rubbish() -> Vec<Fault> {
    let said = |name, bytes: &[u8]| Fault {
        name,
        sense: Sense::Rubbish,
        steps: vec![Read, Send(bytes.to_vec()), Finish],
    };
    let mut endless = b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec();
    endless.resize(3 << 20, b'x');
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Many: 1\r\n".repeat(5000));
    vec![
        said("another protocol", b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\r\n"),
        said("random bytes", &bytes_from("rubbish", 5000)),
        said("TLS", b"\x15\x03\x03\x00\x02\x02\x28"),
        said("no status", b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
        said(
            "a status of two digits",
            b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        said(
            "a header that is none",
            b"HTTP/1.1 200 OK\r\nrubbish\r\n\r\n",
        ),
        said("an endless header", &endless),
        said("too many headers", many.as_bytes()),
        said("an empty line and nothing", b"\r\n\r\n"),
        said(
            "HTTP/2",
            b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
        ),
    ]
}
