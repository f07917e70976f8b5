//! Big bodies, generated while they are sent: no two pieces are alike, and none is kept.

use super::hex;
use super::raw_http::{Connection, Request};
use super::sidecar::Sidecar;
use sha2::{Digest, Sha256};

pub const MIB: usize = 1 << 20;
/// In kB: far above what the process needs, far below the bodies that pass.
pub const MOST_MEMORY: u64 = 64 * 1024;

/// Pieces of 1 MiB, no two of them alike.
pub fn body_pieces(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let pattern: Vec<u8> = (0..=u8::MAX).cycle().take(MIB).collect();
    (0..count).map(move |at| {
        let mut piece = pattern.clone();
        piece[..8].copy_from_slice(&(at as u64).to_le_bytes());
        piece
    })
}

pub fn digest_of_body(count: usize) -> String {
    let mut hash = Sha256::new();
    body_pieces(count).for_each(|piece| hash.update(piece));
    format!("sha256:{}", hex(&hash.finalize()))
}

#[track_caller]
pub fn assert_memory_is_flat(sidecar: &Sidecar) {
    let peak = sidecar.memory("VmHWM");
    assert!(peak < MOST_MEMORY, "{peak} kB");
}

/// Opens an upload and sends the pieces in one request, chunked or with its length.
pub fn send_body(
    sidecar: &Sidecar,
    method: &str,
    target: &str,
    count: usize,
    chunked: bool,
) -> Connection {
    send_body_with(sidecar, method, target, count, chunked, |_| ())
}

/// The same, and `at` is called before each piece with its number.
pub fn send_body_with(
    sidecar: &Sidecar,
    method: &str,
    target: &str,
    count: usize,
    chunked: bool,
    mut at: impl FnMut(usize),
) -> Connection {
    let length = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {}", count * MIB)
    };
    let mut connection = sidecar.client().connect();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\
         Content-Type: application/octet-stream\r\n{length}\r\n\r\n",
        sidecar.port
    );
    connection.write(head.as_bytes()).unwrap();
    for (number, piece) in body_pieces(count).enumerate() {
        at(number);
        if chunked {
            connection.write_chunk(&piece).unwrap();
        } else {
            connection.write(&piece).unwrap();
        }
    }
    if chunked {
        connection.write_chunk(b"").unwrap();
    }
    connection
}

/// Downloads a blob and gives the digest of what came.
pub fn download(mut connection: Connection, request: &Request, port: u16) -> String {
    connection.write(&request.bytes(port)).unwrap();
    let head = connection.head().unwrap();
    assert_eq!(head.status, 200);
    let mut hash = Sha256::new();
    connection.body(&head, |piece| hash.update(piece)).unwrap();
    format!("sha256:{}", hex(&hash.finalize()))
}
