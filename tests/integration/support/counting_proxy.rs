//! A proxy between clients and an object store. It counts calls by kind, and misbehaves as a test
//! says. The Host header passes as it came, because it is signed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a call does in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Objects of the bucket are listed, by the second version of that call.
    List,
    /// The same by the first version, which distribution 2 uses.
    OldList,
    /// An object is read.
    Get,
    /// An object is looked at.
    Head,
    Put,
    Post,
    Delete,
    /// Anything else, such as a list of buckets.
    Other,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    pub kind: Kind,
    /// Path and query.
    pub target: String,
    /// The access key that signed it.
    pub access_key: String,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// It passes after so long.
    Delay(Duration),
    /// This response, such as `403 Forbidden` with the code `AccessDenied`.
    Answer(&'static str, &'static str),
    /// This response's body, with status 200.
    Body(&'static str),
    /// No response, until the client hangs up.
    Hang,
    /// The connection ends.
    Close,
}

pub const DENIED: Fate = Fate::Answer("403 Forbidden", "AccessDenied");
pub const FAILED: Fate = Fate::Answer("500 Internal Server Error", "InternalError");
pub const SLOW_DOWN: Fate = Fate::Answer("503 Slow Down", "SlowDown");

type Judge = dyn Fn(&Call) -> Fate + Send + Sync;

struct Shared {
    upstream: u16,
    calls: Mutex<Vec<Call>>,
    judge: Mutex<Arc<Judge>>,
}

pub struct CountingProxy {
    pub port: u16,
    shared: Arc<Shared>,
}

impl CountingProxy {
    /// In front of the object store at this port. Every call passes.
    pub fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream,
            calls: Mutex::default(),
            judge: Mutex::new(Arc::new(|_: &Call| Fate::Pass)),
        });
        let kept = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&kept);
                std::thread::spawn(move || serve(&client, &shared));
            }
        });
        Self { port, shared }
    }

    /// `judge` decides about every call from here on.
    pub fn decide(&self, judge: impl Fn(&Call) -> Fate + Send + Sync + 'static) {
        *self.shared.judge.lock().unwrap() = Arc::new(judge);
    }

    /// Every call passes only if it lists; others are denied, and counted.
    pub fn pass_only_lists(&self) {
        self.decide(|call| match call.kind {
            Kind::List => Fate::Pass,
            _ => DENIED,
        });
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.calls().iter().filter(|call| call.kind == kind).count()
    }

    /// Forgets all calls so far.
    pub fn forget(&self) {
        self.shared.calls.lock().unwrap().clear();
    }

    #[track_caller]
    pub fn assert_only_lists(&self) {
        let calls = self.calls();
        assert!(!calls.is_empty(), "there was no call");
        let other = calls.iter().find(|call| call.kind != Kind::List);
        assert!(other.is_none(), "{other:?}");
    }
}

/// The head of a message.
struct Head {
    lines: Vec<String>,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                return (!lines.is_empty()).then_some(Self { lines });
            }
            lines.push(line);
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.lines.iter().filter_map(|line| line.split_once(':'));
        let mut fields = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        fields.next().map(|(_, value)| value.trim())
    }

    fn text(&self) -> String {
        self.lines.join("\r\n") + "\r\n\r\n"
    }
}

fn serve(client: &TcpStream, shared: &Shared) -> Option<()> {
    let upstream = TcpStream::connect(("127.0.0.1", shared.upstream)).ok()?;
    for stream in [client, &upstream] {
        stream.set_nodelay(true).ok()?;
    }
    let (mut from_client, mut to_client) = (BufReader::new(client), client);
    let (mut from_upstream, mut to_upstream) = (BufReader::new(&upstream), &upstream);
    loop {
        let mut head = Head::read(&mut from_client)?;
        let call = classify(&head)?;
        shared.calls.lock().unwrap().push(call.clone());
        let expects = head.header("Expect").is_some();
        if expects {
            to_client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
            let is_expect = |line: &String| line.to_ascii_lowercase().starts_with("expect:");
            head.lines.retain(|line| !is_expect(line));
        }
        let judge = Arc::clone(&shared.judge.lock().unwrap());
        match judge(&call) {
            Fate::Pass => {}
            Fate::Delay(time) => std::thread::sleep(time),
            Fate::Answer(status, code) => {
                let text = format!("<Error><Code>{code}</Code><Message>as said</Message></Error>");
                body(&mut from_client, &mut std::io::sink(), &head)?;
                to_client.write_all(&answer(status, &text)).ok()?;
                continue;
            }
            Fate::Body(text) => {
                body(&mut from_client, &mut std::io::sink(), &head)?;
                to_client.write_all(&answer("200 OK", text)).ok()?;
                continue;
            }
            Fate::Hang => {
                std::io::copy(&mut from_client, &mut std::io::sink()).ok()?;
                return None;
            }
            Fate::Close => return None,
        }
        to_upstream.write_all(head.text().as_bytes()).ok()?;
        body(&mut from_client, &mut to_upstream, &head)?;
        let head = Head::read(&mut from_upstream)?;
        to_client.write_all(head.text().as_bytes()).ok()?;
        let has_no_body = call.kind == Kind::Head
            || [" 204 ", " 304 "]
                .iter()
                .any(|it| head.lines[0].contains(it));
        if !has_no_body {
            body(&mut from_upstream, &mut to_client, &head)?;
        }
    }
}

fn answer(status: &str, text: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

fn classify(head: &Head) -> Option<Call> {
    let mut words = head.lines[0].split(' ');
    let (method, target) = (words.next()?, words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    // `/BUCKET/KEY`; the bucket's own name may end with a slash.
    let is_object = path.trim_matches('/').contains('/');
    let is_list = query
        .split('&')
        .any(|it| matches!(it, "list-type=2" | "comp=list"));
    let kind = match method {
        "GET" if is_list => Kind::List,
        "GET" if is_object => Kind::Get,
        "GET" if query.split('&').any(|it| it.starts_with("prefix=")) => Kind::OldList,
        "HEAD" => Kind::Head,
        "PUT" => Kind::Put,
        "POST" => Kind::Post,
        "DELETE" => Kind::Delete,
        _ => Kind::Other,
    };
    let signature = head.header("Authorization").unwrap_or_default();
    let key = signature
        .split_once("Credential=")
        .map_or("", |(_, rest)| rest);
    let access_key = key.split('/').next().unwrap_or_default().to_owned();
    Some(Call {
        kind,
        target,
        access_key,
    })
}

/// Passes a message's body on; `None` where it ends early.
fn body(from: &mut impl BufRead, to: &mut impl Write, head: &Head) -> Option<()> {
    let is_chunked = head
        .header("Transfer-Encoding")
        .is_some_and(|it| it.eq_ignore_ascii_case("chunked"));
    if !is_chunked {
        let length = head.header("Content-Length").unwrap_or("0").parse().ok()?;
        let copied = std::io::copy(&mut from.take(length), to).ok()?;
        return (copied == length).then_some(());
    }
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        to.write_all(line.as_bytes()).ok()?;
        let size = line.trim_end().split(';').next()?;
        let size = u64::from_str_radix(size, 16).ok()?;
        std::io::copy(&mut from.take(size + 2), to).ok()?;
        if size == 0 {
            return Some(());
        }
    }
}
