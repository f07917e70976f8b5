//! What the integration tests share: a real registry, the real sidecar, and a client that sends exact bytes.

pub mod access_control;
pub mod archive;
pub mod azurite;
pub mod browser;
pub mod byte_counter;
pub mod certificates;
pub mod client_certificates;
pub mod client_programs;
pub mod compare;
pub mod counting_proxy;
pub mod credential_variants;
pub mod discovery;
pub mod fault_disk;
pub mod figures;
pub mod filesystems;
pub mod forged_tokens;
pub mod fresh_runner;
pub mod generated_body;
pub mod helm;
pub mod image;
pub mod loop_mount;
pub mod misbehaving_upstream;
pub mod mixed_load;
pub mod nginx;
pub mod pod;
pub mod podman;
pub mod process_usage;
pub mod program_run;
pub mod prometheus;
pub mod pulp;
pub mod pushes_at_once;
pub mod raw_http;
pub mod raw_responses;
pub mod recorded_push;
pub mod recording_disk;
pub mod redis;
pub mod registry;
pub mod registry_client;
pub mod registry_log;
pub mod scripted_page;
pub mod scripted_registry;
pub mod seaweedfs;
pub mod secret_search;
pub mod sidecar;
pub mod sidecar_log;
pub mod sidecar_metrics;
pub mod smuggling;
pub mod sparse_image;
pub mod stop_guard;
pub mod store;
pub mod store_verification;
pub mod strace;
pub mod strict_upstream;
pub mod token_issuer;
pub mod token_server;
pub mod tools;
pub mod version;
pub mod webhook_endpoint;

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
