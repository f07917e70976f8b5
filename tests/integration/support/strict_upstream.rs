//! An upstream that takes only what every reader of HTTP takes alike, and writes down all of it.
//!
//! Whatever else arrives is a fault of the sidecar's: that is a request which another upstream
//! could have read in another way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it was read from a connection's bytes.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    /// Whether its body came to its end.
    pub is_whole: bool,
}

#[derive(Default)]
struct Notes {
    seen: Vec<Seen>,
    faults: Vec<String>,
}

pub struct StrictUpstream {
    pub port: u16,
    notes: Arc<Mutex<Notes>>,
}

impl StrictUpstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let notes = Arc::<Mutex<Notes>>::default();
        let kept = Arc::clone(&notes);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let notes = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream, &notes));
            }
        });
        Self { port, notes }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.notes.lock().unwrap().seen.clone()
    }

    pub fn faults(&self) -> Vec<String> {
        self.notes.lock().unwrap().faults.clone()
    }
}

fn serve(mut stream: TcpStream, notes: &Mutex<Notes>) {
    let mut input = Input {
        stream: stream.try_clone().unwrap(),
        bytes: Vec::new(),
    };
    loop {
        match request(&mut input, notes) {
            Ok(Some(said)) => {
                let length = said.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{said}");
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(fault) => {
                notes.lock().unwrap().faults.push(fault);
                return;
            }
        }
    }
}

/// Reads one request; what is answered to it. `None` where the connection ended.
fn request(input: &mut Input, notes: &Mutex<Notes>) -> Result<Option<String>, String> {
    let Some(head) = input.until(b"\r\n\r\n") else {
        return match &*input.bytes {
            [] => Ok(None),
            rest => Err(format!("ended in a head: {}", rest.escape_ascii())),
        };
    };
    let text = head.escape_ascii().to_string();
    let wrong = |what: &str| format!("{what}: {text}");
    let head = String::from_utf8(head).map_err(|_| wrong("not text"))?;
    let mut lines = head.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
    let words: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else {
        return Err(wrong("request line"));
    };
    let (mut lengths, mut codings, mut hosts) = (Vec::new(), Vec::new(), 0);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("no colon"))?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let is_plain = |c: char| c == '\t' || !c.is_control();
        if name.is_empty() || !name.chars().all(is_token) || !value.chars().all(is_plain) {
            return Err(wrong("header"));
        }
        match &*name.to_ascii_lowercase() {
            "content-length" => lengths.push(value.trim().to_owned()),
            "transfer-encoding" => codings.push(value.trim().to_ascii_lowercase()),
            "host" => hosts += 1,
            _ => {}
        }
    }
    if hosts > 1 {
        return Err(wrong("several hosts"));
    }
    let body = match (&lengths[..], &codings[..]) {
        ([], []) => Body::Length(0),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            Body::Length(length.parse().map_err(|_| wrong("length"))?)
        }
        ([], [coding]) if coding == "chunked" => Body::Chunked,
        _ => return Err(wrong("framing")),
    };
    // A registry would call that malformed, whatever follows.
    if !target.starts_with('/') && !target.contains("://") && target != "*" {
        return Ok(None);
    }
    let number = {
        let mut notes = notes.lock().unwrap();
        let (method, target) = (method.to_owned(), target.to_owned());
        notes.seen.push(Seen {
            method,
            target,
            is_whole: false,
        });
        notes.seen.len() - 1
    };
    let is_whole = match body {
        Body::Length(length) => input.take(length).is_some(),
        Body::Chunked => input.chunks().map_err(|what| wrong(&what))?,
    };
    notes.lock().unwrap().seen[number].is_whole = is_whole;
    Ok(is_whole.then(|| format!("{method} {target}")))
}

enum Body {
    Length(usize),
    Chunked,
}

struct Input {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Input {
    fn more(&mut self) -> bool {
        let mut buffer = [0; 1 << 14];
        let count = self.stream.read(&mut buffer).unwrap_or(0);
        self.bytes.extend_from_slice(&buffer[..count]);
        count > 0
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.bytes.windows(end.len()).position(|it| it == end) {
                return self.take(at + end.len());
            }
            if !self.more() {
                return None;
            }
        }
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.bytes.len() < count {
            if !self.more() {
                return None;
            }
        }
        let rest = self.bytes.split_off(count);
        Some(std::mem::replace(&mut self.bytes, rest))
    }

    /// Whether a chunked body came to its end.
    fn chunks(&mut self) -> Result<bool, String> {
        loop {
            let Some(line) = self.until(b"\r\n") else {
                return Ok(false);
            };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let is_hex = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(&line, 16).ok().filter(|_| is_hex);
            let size = size.ok_or_else(|| format!("chunk {line:?}"))?;
            match self.take(size + 2) {
                None => return Ok(false),
                Some(chunk) if !chunk.ends_with(b"\r\n") => {
                    return Err("a chunk without its end".to_owned());
                }
                Some(_) if size == 0 => return Ok(true),
                Some(_) => {}
            }
        }
    }
}
