//! What the integration tests share: a real registry, the real sidecar, and a client that sends exact bytes.

pub mod alike;
pub mod authorities;
pub mod browser;
pub mod client_certificates;
pub mod clients;
pub mod endpoint;
pub mod engine;
pub mod faulted;
pub mod faulty;
pub mod figures;
pub mod forge;
pub mod helm;
pub mod image;
pub mod load;
pub mod mounted;
pub mod nginx;
pub mod odd;
pub mod over;
pub mod pair;
pub mod pieces;
pub mod played;
pub mod pod;
pub mod process;
pub mod program;
pub mod prometheus;
pub mod pulp;
pub mod push;
pub mod recorder;
pub mod registry;
pub mod secrets;
pub mod secured;
pub mod sidecar;
pub mod smuggled;
pub mod splitting;
pub mod store;
pub mod token_server;
pub mod tokens;
pub mod tools;
pub mod traced;
pub mod variants;
pub mod version;
pub mod wire;

use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long anything that polls may take: the machines that run the tests are shared and noisy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `ready` again and again until it says yes, and panics with `what` after [`PATIENCE`].
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens on. Taken below the range that the kernel gives to outgoing
/// connections, so that a registry can come back on the same port.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 199).unwrap() * 100;
    for _ in 0..20_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % 20_000;
        let port = 12_000 + (start + step) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 12000 and 32000");
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// `sha256:<hex>` of the bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Bytes that look random and are the same for the same seed.
pub fn bytes_from(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut counter = 0_u64;
    while bytes.len() < length {
        let block = Sha256::new()
            .chain_update(seed)
            .chain_update(counter.to_le_bytes())
            .finalize();
        bytes.extend_from_slice(&block);
        counter += 1;
    }
    bytes.truncate(length);
    bytes
}

pub fn base64(bytes: &[u8]) -> String {
    const SET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().enumerate().fold(0_u32, |word, (at, byte)| {
            word | u32::from(*byte) << (16 - 8 * at)
        });
        for at in 0..4 {
            let index = (word >> (18 - 6 * at)) & 63;
            text.push(if at <= group.len() {
                char::from(SET[index as usize])
            } else {
                '='
            });
        }
    }
    text
}
