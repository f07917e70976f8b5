//! An upstream that misbehaves as a test says, and records the requests that it received.

use super::sidecar::{self, Sidecar};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpSocket;

/// The head of a request that reached the upstream.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// Which connection carried it, and how many came before it there.
    pub connection: usize,
    pub nth: usize,
}

impl ReceivedRequest {
    pub fn is_the_sidecars(&self) -> bool {
        let agent = self.header("User-Agent").unwrap_or_default();
        agent.starts_with("crossmount/")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// What to do about a request, its body still unread.
pub enum Reply {
    /// Read the body, send these bytes, keep the connection.
    Answer(Vec<u8>),
    /// Send these bytes and close.
    AnswerAndClose(Vec<u8>),
    /// Read the body, then send these pieces with a pause before each, and keep the connection.
    Pieces(Vec<Vec<u8>>, Duration),
    /// Say nothing and close.
    Close,
    /// One after the other; what comes after the last is the connection's next request.
    Steps(Vec<Step>),
}

/// A part of what an upstream does about a request.
#[derive(Debug, Clone)]
pub enum Step {
    /// Take the request's body.
    Read,
    Send(Vec<u8>),
    Wait(Duration),
    /// Until the next request begins to arrive on this connection.
    Next,
    /// Say nothing more, until the other side hangs up.
    Hold,
    /// Close in such a way that everything arrives that was sent.
    Finish,
    /// Close at once, as servers close what is idle.
    Close,
    /// Break the connection.
    Reset,
}

pub struct MisbehavingUpstream {
    pub port: u16,
    heard: Arc<Mutex<Vec<ReceivedRequest>>>,
}

impl MisbehavingUpstream {
    /// `judge` decides about each request. It may block: each connection has a thread.
    pub fn start(judge: impl Fn(&ReceivedRequest) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        let judge = Arc::new(judge);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let (kept, judge) = (Arc::clone(&kept), Arc::clone(&judge));
                std::thread::spawn(move || serve(&stream, number, &kept, &*judge));
            }
        });
        Self { port, heard }
    }

    /// An upstream that answers every request with 200 and this text.
    pub fn always_answering(text: &'static str) -> Self {
        Self::start(move |_| Reply::Answer(ok(text)))
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything, with what the sidecar asks on its own account.
    pub fn all(&self) -> Vec<ReceivedRequest> {
        self.heard.lock().unwrap().clone()
    }

    /// What clients asked.
    pub fn heard(&self) -> Vec<ReceivedRequest> {
        let mut heard = self.all();
        heard.retain(|heard| !heard.is_the_sidecars());
        heard
    }

    /// How often clients used this method.
    pub fn count(&self, method: &str) -> usize {
        self.heard()
            .iter()
            .filter(|heard| heard.method == method)
            .count()
    }
}

pub fn ok(text: &str) -> Vec<u8> {
    answer("200 OK", text)
}

pub fn answer(status: &str, text: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

fn serve(
    stream: &TcpStream,
    connection: usize,
    kept: &Mutex<Vec<ReceivedRequest>>,
    judge: &dyn Fn(&ReceivedRequest) -> Reply,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    for nth in 0.. {
        let heard = head(&mut reader, connection, nth)?;
        kept.lock().unwrap().push(heard.clone());
        match judge(&heard) {
            Reply::Answer(bytes) => {
                body(&mut reader, &heard)?;
                writer.write_all(&bytes).ok()?;
            }
            Reply::AnswerAndClose(bytes) => {
                writer.write_all(&bytes).ok()?;
                return None;
            }
            Reply::Pieces(pieces, pause) => {
                body(&mut reader, &heard)?;
                for piece in pieces {
                    std::thread::sleep(pause);
                    writer.write_all(&piece).ok()?;
                }
            }
            Reply::Close => return None,
            Reply::Steps(steps) => {
                for step in steps {
                    take(&step, stream, &mut reader, &heard)?;
                }
            }
        }
    }
    None
}

/// `None` ends the connection.
fn take(
    step: &Step,
    mut stream: &TcpStream,
    reader: &mut BufReader<&TcpStream>,
    heard: &ReceivedRequest,
) -> Option<()> {
    match step {
        Step::Read => body(reader, heard)?,
        Step::Send(bytes) => stream.write_all(bytes).ok()?,
        Step::Wait(pause) => std::thread::sleep(*pause),
        Step::Next => drop(reader.fill_buf().ok().filter(|bytes| !bytes.is_empty())?),
        Step::Hold => {
            std::io::copy(reader, &mut std::io::sink()).ok()?;
        }
        Step::Finish => {
            stream.shutdown(Shutdown::Write).ok()?;
            // What is left unread would make the kernel reset the connection.
            std::io::copy(reader, &mut std::io::sink()).ok()?;
            return None;
        }
        Step::Close => return None,
        Step::Reset => {
            let socket = TcpSocket::from_std_stream(stream.try_clone().ok()?);
            socket.set_zero_linger().ok()?;
            return None;
        }
    }
    Some(())
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    line.strip_suffix("\r\n").map(str::to_owned)
}

fn head(reader: &mut impl BufRead, connection: usize, nth: usize) -> Option<ReceivedRequest> {
    let request = line(reader)?;
    let mut words = request.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Some(ReceivedRequest {
        method,
        target,
        headers,
        connection,
        nth,
    })
}

fn body(reader: &mut impl BufRead, heard: &ReceivedRequest) -> Option<()> {
    if heard.header("Transfer-Encoding").is_some() {
        loop {
            let size = u64::from_str_radix(&line(reader)?, 16).ok()?;
            std::io::copy(&mut reader.take(size + 2), &mut std::io::sink()).ok()?;
            if size == 0 {
                return Some(());
            }
        }
    }
    let length = heard.header("Content-Length").unwrap_or("0");
    let length = length.parse().ok()?;
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    Some(())
}

/// The sidecar in front of such an upstream, over an empty store.
pub fn in_front_of(
    upstream: &MisbehavingUpstream,
    change: impl FnOnce(&mut Value),
) -> (Sidecar, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let mut config = sidecar::config(&upstream.url(), root.path());
    change(&mut config);
    (Sidecar::from(&config), root)
}
