//! Counts the bytes that clients send to a server, whatever they say.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// In front of a server; ends with the test process.
pub struct ByteCounter {
    pub port: u16,
    sent: Arc<AtomicU64>,
}

impl ByteCounter {
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::new(AtomicU64::new(0));
        let kept = Arc::clone(&sent);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is not there hangs up on its clients.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)) {
                    connect(&client, &server, &kept);
                }
            }
        });
        Self { port, sent }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Heads and bodies of all requests so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

fn connect(client: &TcpStream, server: &TcpStream, sent: &Arc<AtomicU64>) {
    let clone = |stream: &TcpStream| stream.try_clone().unwrap();
    let (from, to, sent) = (clone(client), clone(server), Arc::clone(sent));
    std::thread::spawn(move || forward(from, to, &sent));
    let (from, to) = (clone(server), clone(client));
    std::thread::spawn(move || forward(from, to, &AtomicU64::new(0)));
}

fn forward(mut from: TcpStream, mut to: TcpStream, counted: &AtomicU64) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        // Before the server can answer to it.
        counted.fetch_add(length as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
