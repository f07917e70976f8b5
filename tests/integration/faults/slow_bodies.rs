//! Bodies that are slow, or stand still: they are never cut, and are in nobody's way.

use crate::{needs, support};
use std::time::Duration;
use support::figures::{amount, note};
use support::image::Image;
use support::raw_http::Connection;
use support::registry::Registry;
use support::registry_client::{Client, closing};
use support::sidecar::Sidecar;
use support::{bytes_from, digest_of, process_usage, wait_until};

fn hasty(registry: &Registry) -> Sidecar {
    let sidecar = Sidecar::with(registry, |config| {
        config["listen"]["header_timeout"] = "1s".into();
    });
    sidecar.verify_store();
    sidecar
}

#[test]
fn a_slow_body_is_never_cut() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = hasty(&registry);
    let bytes = bytes_from("a slow upload", 40);
    let digest = digest_of(&bytes);
    std::thread::scope(|scope| {
        for (repository, is_chunked) in [("slow/length", false), ("slow/chunked", true)] {
            let (client, bytes, digest) = (sidecar.client(), &bytes, &digest);
            scope.spawn(move || {
                upload_slowly(&client, repository, bytes, is_chunked);
                assert_eq!(client.pull(repository, digest), *bytes);
            });
        }
    });
    note(
        "Hostile clients",
        "uploads of a byte each 100 ms, four times as long as header_timeout",
        2,
        "whole",
    );
}

/// Opens an upload and sends the head of the PUT that brings the blob, with this framing.
fn announce(client: &Client, repository: &str, bytes: &[u8], framing: &str) -> Connection {
    let opened = client.begin(repository).expect(202);
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/octet-stream\r\n{framing}\r\n\r\n",
        closing(&opened, &digest_of(bytes)),
        client.port,
    );
    let mut connection = client.connect();
    connection.write(head.as_bytes()).unwrap();
    connection
}

fn with_length(bytes: &[u8]) -> String {
    format!("Content-Length: {}", bytes.len())
}

fn upload_slowly(client: &Client, repository: &str, bytes: &[u8], is_chunked: bool) {
    let framing = if is_chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        with_length(bytes)
    };
    let mut connection = announce(client, repository, bytes, &framing);
    for byte in bytes {
        std::thread::sleep(Duration::from_millis(100));
        if is_chunked {
            connection.write_chunk(&[*byte]).unwrap();
        } else {
            connection.write(&[*byte]).unwrap();
        }
    }
    if is_chunked {
        connection.write_chunk(b"").unwrap();
    }
    connection.answer("PUT").unwrap().expect(201);
}

#[test]
fn stalled_bodies_block_no_other_client_and_leave_nothing() {
    needs!("docker-registry");
    let many = amount(300, 2000);
    assert!(process_usage::allow_descriptors(4 * many + 1000));
    let registry = Registry::start();
    let sidecar = hasty(&registry);
    let client = sidecar.client();
    let image = Image::of(&["a layer", "another"], 200_000);
    image.push(&client, "source", "v1");
    let before = sidecar.descriptors();
    let bytes = bytes_from("half of it", 10_000);
    let (sent, rest) = bytes.split_at(5000);
    let mut stalled: Vec<_> = (0..many)
        .map(|at| {
            let repository = format!("stalled/{at}");
            let mut connection = announce(&client, &repository, &bytes, &with_length(&bytes));
            connection.write(sent).unwrap();
            connection
        })
        .collect();
    // Each has a connection on either side.
    let held = 2 * usize::try_from(many).unwrap();
    wait_until("all have come to the registry", || {
        sidecar.descriptors() >= held
    });
    for blob in image.blobs() {
        client.mount("target", &blob.digest, "source").expect(201);
    }
    client
        .put_manifest("target", "v1", &image.manifest.bytes)
        .expect(201);
    image.pull(&client, "target", "v1");
    std::thread::sleep(Duration::from_millis(1500));
    let mut last = stalled.pop().unwrap();
    last.write(rest).unwrap();
    last.answer("PUT").unwrap().expect(201);
    drop((stalled, last));
    wait_until("their connections are given back", || {
        sidecar.descriptors() < before + 20
    });
    let blobs = image.blobs().count() as u64;
    assert_eq!(sidecar.mounted(), blobs);
    note(
        "Hostile clients",
        "uploads that stand still in the middle of a PUT's body",
        many,
        "mounts, pushes and pulls as always meanwhile, the upload that went on is whole, every \
         connection was given back",
    );
}
