//! An endpoint for events, which takes them as it is told and remembers what came.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request that came.
#[derive(Debug, Clone)]
pub struct ReceivedEvents {
    pub head: String,
    pub body: Vec<u8>,
}

impl ReceivedEvents {
    /// The events in it.
    pub fn events(&self) -> Vec<Value> {
        let envelope: Value = serde_json::from_slice(&self.body).unwrap();
        envelope["events"].as_array().unwrap().clone()
    }
}

pub struct Endpoint {
    pub port: u16,
    told: Arc<Mutex<Vec<ReceivedEvents>>>,
}

impl Endpoint {
    /// `status` says what the next answer is, by how many came before. It may block.
    pub fn start(status: impl Fn(usize) -> &'static str + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = told.clone();
        let status = Arc::new(status);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, status) = (kept.clone(), status.clone());
                std::thread::spawn(move || serve(&stream, &kept, &*status));
            }
        });
        Self { port, told }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/events", self.port)
    }

    pub fn told(&self) -> Vec<ReceivedEvents> {
        self.told.lock().unwrap().clone()
    }
}

fn serve(
    stream: &TcpStream,
    kept: &Mutex<Vec<ReceivedEvents>>,
    status: &dyn Fn(usize) -> &'static str,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length?.trim().parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        let before = {
            let mut kept = kept.lock().unwrap();
            kept.push(ReceivedEvents { head, body });
            kept.len() - 1
        };
        let answer = format!("HTTP/1.1 {}\r\nContent-Length: 0\r\n\r\n", status(before));
        (&*stream).write_all(answer.as_bytes()).ok()?;
    }
}
