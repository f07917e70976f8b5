//! Request smuggling: requests that two parsers may split in different ways, with another request
//! hidden in them.
//!
//! Each variant is a first request with odd framing; what a reader may take for its body holds a
//! hidden request, a mount, and a last one follows. All three name the variant's number.

mod forms;

use super::digest_of;
use forms::{CODINGS, ENDS, LENGTHS, LINES, REQUESTS, RIGHT_SIZES, SIZES};

pub const BLOB: &[u8] = b"what a hidden request would mount";

#[derive(Debug, Clone)]
pub struct SmugglingAttempt {
    pub number: usize,
    pub name: String,
    /// The first request with all that may be its body.
    pub first: Vec<u8>,
    pub last: Vec<u8>,
    pub hidden: Hidden,
}

/// Where the hidden request is for a reader that takes the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// In its body, whoever reads.
    InBody,
    /// After it: a request like any other, unless the reader takes more for the body than is meant.
    Next,
    /// That depends on the reader.
    Somewhere,
}

pub fn marker(kind: &str, number: usize) -> String {
    format!("{kind}-{number}x")
}

fn target(method: &str, kind: &str, number: usize) -> String {
    let name = marker(kind, number);
    match method {
        "POST" => format!(
            "/v2/{name}/blobs/uploads/?mount={}&from=source",
            digest_of(BLOB)
        ),
        "PUT" => format!("/v2/{name}/manifests/latest"),
        "PATCH" => format!("/v2/{name}/blobs/uploads/none"),
        _ => format!("/v2/{name}/tags/list"),
    }
}

struct Made(Vec<SmugglingAttempt>);

impl Made {
    /// `body` makes what follows the head around the hidden request.
    fn add(
        &mut self,
        (request, end, method): (&str, &str, &str),
        framing: &str,
        hidden: Hidden,
        body: impl Fn(&str) -> String,
    ) {
        let number = self.0.len();
        let inner = format!(
            "POST {} HTTP/1.1\r\nHost: host.test\r\nContent-Length: 0\r\n\r\n",
            target("POST", "hidden", number)
        );
        let body = body(&inner);
        let framing = framing.replace("{n}", &body.len().to_string());
        let request = request.replace("{m}", method);
        let request = request.replace("{t}", &target(method, "first", number));
        let mut head = format!("{request}{end}Host: host.test{end}");
        if !framing.is_empty() {
            head.push_str(&framing);
            head.push_str(end);
        }
        let last = format!(
            "GET {} HTTP/1.1\r\nHost: host.test\r\nConnection: close\r\n\r\n",
            target("GET", "last", number)
        );
        let shown = body.replace(&inner, "<hidden>");
        self.0.push(SmugglingAttempt {
            number,
            name: (head.clone() + end + &shown).escape_debug().to_string(),
            first: format!("{head}{end}{body}").into_bytes(),
            last: last.into_bytes(),
            hidden,
        });
    }
}

fn chunked(size: &str, data: &str, end: &str) -> String {
    let length = format!("{:x}", data.len());
    size.replace("{n}", &length) + data + end
}

fn whole(data: &str) -> String {
    chunked("{n}\r\n", data, "\r\n0\r\n\r\n")
}

/// A body's end at its beginning, for one who reads chunks.
fn ended(data: &str) -> String {
    format!("0\r\n\r\n{data}")
}

const LINE: &str = "{m} {t} HTTP/1.1";
const END: &str = "\r\n";
const LENGTH: &str = "Content-Length: {n}";
const CODING: &str = "Transfer-Encoding: chunked";

impl Hidden {
    fn in_body_if(is_plain: bool) -> Self {
        if is_plain {
            Self::InBody
        } else {
            Self::Somewhere
        }
    }
}

impl SmugglingAttempt {
    /// Whether there are no two ways to read it.
    pub fn is_plain(&self) -> bool {
        self.hidden == Hidden::InBody
    }

    /// Whether Pingora waits for more of it: a bare newline ends no chunk's line with an extension.
    pub fn is_waited_for(&self) -> bool {
        self.first.windows(5).any(|it| it == b";ext\n")
    }

    /// Whether Pingora takes the request line where the registry does not: after empty lines
    /// (RFC 9112, 2.2), and with what may not stand in a target, which it escapes.
    pub fn is_taken_more_widely(&self) -> bool {
        let text = String::from_utf8_lossy(&self.first);
        let line = text.trim_start().lines().next().unwrap_or_default();
        text.starts_with(['\r', '\n'])
            || line.matches(' ').count() > 2
            || line.contains(|c: char| c.is_control())
    }
}

/// Every variant, about three thousand of them.
pub fn variants() -> Vec<SmugglingAttempt> {
    let mut made = Made(Vec::new());
    for method in ["GET", "POST", "PUT"] {
        let plainly = (LINE, END, method);
        for (at, framing) in LENGTHS.iter().enumerate() {
            let hidden = Hidden::in_body_if(at < 8);
            made.add(plainly, framing, hidden, str::to_owned);
            made.add(plainly, framing, hidden, whole);
        }
        for (at, framing) in CODINGS.iter().enumerate() {
            made.add(plainly, framing, Hidden::in_body_if(at < 7), whole);
            made.add(plainly, framing, Hidden::Somewhere, ended);
        }
    }
    for coding in CODINGS {
        for length in [
            LENGTH,
            "Content-Length: 0",
            "Content-Length: 5",
            "Content-Length: x",
        ] {
            for both in [
                format!("{length}{END}{coding}"),
                format!("{coding}{END}{length}"),
            ] {
                made.add((LINE, END, "POST"), &both, Hidden::Somewhere, whole);
                made.add((LINE, END, "PATCH"), &both, Hidden::Somewhere, ended);
            }
        }
    }
    for (at, size) in SIZES.iter().enumerate() {
        for (nth, end) in ENDS.iter().enumerate() {
            let place = Hidden::in_body_if(at < 1 && nth < 1);
            made.add((LINE, END, "POST"), CODING, place, |hidden| {
                chunked(size, hidden, end)
            });
        }
        let place = if RIGHT_SIZES.contains(size) {
            Hidden::Next
        } else {
            Hidden::Somewhere
        };
        made.add((LINE, END, "GET"), CODING, place, |hidden| {
            chunked(size, "abc", "\r\n0\r\n\r\n") + hidden
        });
    }
    for end in LINES {
        for framing in [LENGTH, CODING, "Content-Length: 0", ""] {
            for method in ["GET", "POST", "DELETE"] {
                let line = (LINE, *end, method);
                made.add(line, framing, Hidden::Somewhere, str::to_owned);
                made.add(line, framing, Hidden::Somewhere, whole);
            }
        }
    }
    for request in REQUESTS {
        for framing in [LENGTH, CODING, ""] {
            for method in ["GET", "POST", "OPTIONS"] {
                let hidden = if framing.is_empty() {
                    Hidden::Next
                } else {
                    Hidden::Somewhere
                };
                made.add((request, END, method), framing, hidden, str::to_owned);
                // Where Pingora escapes a request line, and where a head ends, are two searches.
                made.add((request, "\n", method), framing, Hidden::Somewhere, whole);
            }
        }
    }
    made.0
}
