//! Requests that two readers may split in different ways, with another request hidden in them.
//!
//! Each variant is a first request with odd framing; what a reader may take for its body holds a
//! hidden request, a mount, and a last one follows. All three name the variant's number.

use super::digest_of;

pub const BLOB: &[u8] = b"what a hidden request would mount";

#[derive(Debug, Clone)]
pub struct Smuggled {
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

/// `{n}` is the length of what follows the head.
const LENGTHS: &[&str] = &[
    "Content-Length: {n}",
    "content-length: {n}",
    "CONTENT-LENGTH: {n}",
    "Content-Length:{n}",
    "Content-Length:\t{n}",
    "Content-Length: {n} ",
    "Content-Length: {n}\t",
    "Content-Length:  {n}",
    "Content-Length: 0",
    "Content-Length: 7",
    "Content-Length: 0{n}",
    "Content-Length: 00000000000000000000000{n}",
    "Content-Length: +{n}",
    "Content-Length: -{n}",
    "Content-Length: -0",
    "Content-Length: 0x{n}",
    "Content-Length: {n}.0",
    "Content-Length: {n}e0",
    "Content-Length: {n},{n}",
    "Content-Length: {n}, {n}",
    "Content-Length: {n}, 0",
    "Content-Length: 0, {n}",
    "Content-Length: {n},",
    "Content-Length: ,{n}",
    "Content-Length: {n};",
    "Content-Length: {n} 0",
    "Content-Length: \"{n}\"",
    "Content-Length: {n}\x0b",
    "Content-Length: {n}\0",
    "Content-Length:",
    "Content-Length: ",
    "Content-Length: chunked",
    "Content-Length: 18446744073709551616",
    "Content-Length: 18446744073709551615",
    "Content-Length: 9223372036854775808",
    "Content-Length: \u{661}",
    "Content-Length : {n}",
    "Content-Length\t: {n}",
    " Content-Length: {n}",
    "\tContent-Length: {n}",
    "Content-Length:\r\n {n}",
    "Content-Length: {n}\r\n 0",
    "Content_Length: {n}",
    "Content-Length\0: {n}",
    "\0Content-Length: {n}",
    "X: y\rContent-Length: {n}",
    "X: y\nContent-Length: {n}",
    "X: y\n\rContent-Length: {n}",
    "X: y\r\r\nContent-Length: {n}",
    "Content-Length: {n}\r\nContent-Length: {n}",
    "Content-Length: {n}\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: {n}",
    "Content-Length: {n}\r\ncontent-length: 7",
    "Content-Length: {n}\r\nContent-Length: {n}, 0",
    "Content-Length: 0\r\nContent-Length : {n}",
    "Connection: Content-Length\r\nContent-Length: {n}",
    "X-Nothing: y",
];

const CODINGS: &[&str] = &[
    "Transfer-Encoding: chunked",
    "transfer-encoding: chunked",
    "TRANSFER-ENCODING: CHUNKED",
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:  chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding: chunked\t",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: chunked\x0c",
    "Transfer-Encoding: chunked\0",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: chunk",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: chunked identity",
    "Transfer-Encoding:",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding\0: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: identity,\r\n chunked",
    "Transfer-Encoding: chunked\r\n , identity",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\r\r\nTransfer-Encoding: chunked",
    "X: y\r\n Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    "TE: chunked",
    "Content-Encoding: chunked",
];

/// A chunk's line; `{n}` is the length of its data.
const SIZES: &[&str] = &[
    "{n}\r\n",
    "0{n}\r\n",
    "0000000000000000000000000000{n}\r\n",
    "{n} \r\n",
    "{n}\t\r\n",
    " {n}\r\n",
    "+{n}\r\n",
    "-{n}\r\n",
    "0x{n}\r\n",
    "{n};\r\n",
    "{n};ext\r\n",
    "{n};ext=1\r\n",
    "{n};ext=\"1\"\r\n",
    "{n};ext=\"\r\n",
    "{n};ext=\"a\nb\"\r\n",
    "{n};ext\r0\r\n",
    "{n};ext\n",
    "{n} ;ext\r\n",
    "{n} ext\r\n",
    "{n},\r\n",
    "{n}\n",
    "{n}\r",
    "{n}\r\r\n",
    "{n}\n\r\n",
    "{n}\0\r\n",
    "{n}\x0b\r\n",
    "\r\n{n}\r\n",
    "\n{n}\r\n",
    "G\r\n",
    "\r\n",
    "FFFFFFFFFFFFFFFF\r\n",
    "FFFFFFFFFFFFFFFFF\r\n",
    "8000000000000000\r\n",
    "1000000000000000{n}\r\n",
    "{n}.0\r\n",
    "{n}h\r\n",
];

/// Those that RFC 9112, 7.1 knows, where not every reader takes them all.
const RIGHT_SIZES: &[&str] = &[
    "{n}\r\n",
    "0{n}\r\n",
    "0000000000000000000000000000{n}\r\n",
    "{n};ext\r\n",
    "{n};ext=1\r\n",
    "{n};ext=\"1\"\r\n",
    "{n} ;ext\r\n",
];

/// What follows a chunk's data, and ends the body.
const ENDS: &[&str] = &[
    "\r\n0\r\n\r\n",
    "\n0\r\n\r\n",
    "0\r\n\r\n",
    "\r\n0\n\n",
    "\r\n0\r\n\n",
    "\r\n0\r\r",
    "\r\n00\r\n\r\n",
    "\r\n0 \r\n\r\n",
    "\r\n0;x\r\n\r\n",
    "\r\n0;x=\"\r\n\r\n\"\r\n\r\n",
    "\r\n0\r\nX: y\r\n\r\n",
    "\r\n0\r\nContent-Length: 7\r\n\r\n",
    "\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "\r\n0\r\nX: y\n\n",
    "\r\n0\r\nX\r\n\r\n",
    "\r\n0\r\n X: y\r\n\r\n",
    "\r\n-0\r\n\r\n",
    "X\r\n0\r\n\r\n",
    "\r\nX0\r\n\r\n",
    "\r\n\r\n0\r\n\r\n",
];

/// Ends of lines in a head.
const LINES: &[&str] = &[
    "\r\n", "\n", "\r", "\r\r\n", "\n\r", "\0\r\n", " \r\n", "\r\n ",
];

/// Request lines; `{m}` is the method and `{t}` the target.
const REQUESTS: &[&str] = &[
    "{m} {t} HTTP/1.1",
    "{m} {t} HTTP/1.0",
    "{m} {t} HTTP/0.9",
    "{m} {t} HTTP/2.0",
    "{m} {t} HTTP/1.2",
    "{m} {t} HTTP/1.10",
    "{m} {t} HTTP/01.1",
    "{m} {t} http/1.1",
    "{m} {t} HTTP/1.1 ",
    "{m} {t}  HTTP/1.1",
    "{m}  {t} HTTP/1.1",
    " {m} {t} HTTP/1.1",
    "{m}\t{t}\tHTTP/1.1",
    "{m} {t} HTTP/1.1 HTTP/1.1",
    "{m} {t} x HTTP/1.1",
    "{m} {t}\u{1} HTTP/1.1",
    "{m} {t}\u{7f} HTTP/1.1",
    "{m} {t}\u{e9} HTTP/1.1",
    "{m} {t}\0 HTTP/1.1",
    "{m} {t}#x HTTP/1.1",
    "{m} {t}?x#y HTTP/1.1",
    "{m} http://host.test{t} HTTP/1.1",
    "{m} //host.test{t} HTTP/1.1",
    "{m} {t}",
    "{t}",
    "{m}",
    "{m}\0 {t} HTTP/1.1",
    "{m}, {t} HTTP/1.1",
    "\"{m}\" {t} HTTP/1.1",
    "\r\n{m} {t} HTTP/1.1",
    "\r\n\r\n{m} {t} HTTP/1.1",
    "\n{m} {t} HTTP/1.1",
    "{m} {t} HTTP/1.1\r\nX y",
    "{m} {t} HTTP/1.1\r\n: y",
    "{m} {t} HTTP/1.1\r\nX: y\0z",
    "{m} {t} HTTP/1.1\r\nX\u{e9}: y",
    "{m} {t} HTTP/1.1\r\n\r\n",
];

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

struct Made(Vec<Smuggled>);

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
        self.0.push(Smuggled {
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

impl Smuggled {
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
pub fn variants() -> Vec<Smuggled> {
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
