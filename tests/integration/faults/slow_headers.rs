//! Clients that are slow on purpose, or because their line is: their heads end.

use crate::{needs, support};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::figures::{amount, note};
use support::misbehaving_upstream::{MisbehavingUpstream, in_front_of};
use support::raw_http::Connection;
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::{PATIENCE, bytes_from, process_usage, raw_http, wait_until};

const HEAD: &[u8] = b"GET /v2/ HTTP/1.1\r\nHost: registry.test\r\nX-Slow: ";

/// A client that sends the beginning of a head and then a byte now and then.
struct Slow {
    stream: TcpStream,
    began: Instant,
    lived: Option<Duration>,
}

impl Slow {
    fn on(mut stream: TcpStream) -> Self {
        stream.write_all(HEAD).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self {
            stream,
            began: Instant::now(),
            lived: None,
        }
    }

    fn to(port: u16) -> Self {
        Self::on(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// Sends another byte, and sees whether the connection has ended.
    fn go_on(&mut self) {
        if self.lived.is_some() {
            return;
        }
        let sent = self.stream.write(b"a");
        let ended = match self.stream.read(&mut [0; 64]) {
            Ok(0) => true,
            Ok(_) => panic!("half a head was answered"),
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        if ended || sent.is_err() {
            self.lived = Some(self.began.elapsed());
        }
    }
}

/// Lets all go on until all have ended, and `meanwhile` in between.
fn until_all_end(slow: &mut [Slow], mut meanwhile: impl FnMut()) {
    let start = Instant::now();
    while slow.iter().any(|client| client.lived.is_none()) {
        assert!(start.elapsed() < PATIENCE, "slow heads have no end");
        slow.iter_mut().for_each(Slow::go_on);
        meanwhile();
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn timed(upstream: &MisbehavingUpstream, header_timeout: &str) -> (Sidecar, tempfile::TempDir) {
    in_front_of(upstream, |config| {
        config["listen"]["header_timeout"] = header_timeout.into();
    })
}

#[test]
fn slow_request_heads_time_out_and_block_no_other_client() {
    let many = amount(300, 3000);
    // All must be there before the first ends.
    let seconds = amount(2, 20);
    assert!(process_usage::allow_descriptors(2 * many + 1000));
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = timed(&upstream, &format!("{seconds}s"));
    let before = sidecar.descriptors();
    let mut slow: Vec<_> = (0..many).map(|_| Slow::to(sidecar.port)).collect();
    wait_until("all are accepted", || {
        sidecar.descriptors() as u64 >= before as u64 + many
    });
    let mut served = 0;
    until_all_end(&mut slow, || {
        sidecar.client().get("/v2/").expect(200);
        served += 1;
    });
    for client in &slow {
        assert!(client.lived.unwrap() >= Duration::from_millis(seconds * 1000 - 100));
    }
    wait_until("their connections are given back", || {
        sidecar.descriptors() < before + 20
    });
    assert_eq!(upstream.heard().len(), served);
    note(
        "Hostile clients",
        &format!("heads sent a byte at a time, with header_timeout {seconds}s"),
        many,
        &format!("all closed, {served} other requests served meanwhile"),
    );
}

#[test]
fn a_later_head_on_a_connection_is_timed_and_an_idle_connection_is_not() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = timed(&upstream, "1s");
    let request = raw_http::Request::new("GET", "/v2/").bytes(sidecar.port);
    let mut idle = Connection::to(sidecar.port).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", sidecar.port)).unwrap();
    for _ in 0..2 {
        idle.write(&request).unwrap();
        idle.answer("GET").unwrap().expect(200);
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"fine") {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0);
            answer.extend_from_slice(&buffer[..count]);
        }
        std::thread::sleep(Duration::from_millis(1500));
    }
    until_all_end(&mut [Slow::on(stream)], || ());
    idle.write(&request).unwrap();
    idle.answer("GET").unwrap().expect(200);
}

#[test]
fn a_head_that_is_slow_and_within_its_time_is_served() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = timed(&upstream, "20s");
    let mut connection = Connection::to(sidecar.port).unwrap();
    for piece in HEAD.chunks(5) {
        connection.write(piece).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    connection.write(b"\r\n\r\n").unwrap();
    connection.answer("GET").unwrap().expect(200);
}

#[test]
fn slow_heads_on_the_admin_port_end_too() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = timed(&upstream, "1s");
    let mut connection = Connection::to(sidecar.admin).unwrap();
    for _ in 0..3 {
        connection
            .write(&raw_http::Request::new("GET", "/healthz").bytes(sidecar.admin))
            .unwrap();
        connection.answer("GET").unwrap().expect(200);
        std::thread::sleep(Duration::from_millis(600));
    }
    until_all_end(&mut [Slow::to(sidecar.admin)], || {
        raw_http::get(sidecar.admin, "/healthz").expect(200);
    });
}

#[test]
fn clients_that_do_not_read_their_downloads_use_no_memory_and_block_no_other_client() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    let size = 16 << 20;
    let digest = registry.client().upload("big", &bytes_from("big", size));
    let many = amount(40, 400);
    let deaf: Vec<_> = (0..many)
        .map(|_| {
            let client = sidecar.client();
            let mut connection = client.connect();
            let request = client.request("GET", &format!("/v2/big/blobs/{digest}"));
            connection.write(&request.bytes(client.port)).unwrap();
            assert_eq!(connection.head().unwrap().status, 200);
            connection
        })
        .collect();
    assert_eq!(sidecar.client().pull("big", &digest).len(), size);
    let peak = sidecar.memory("VmHWM");
    drop(deaf);
    // What an answer has on its way is a few buffers, not the blob.
    assert!(peak < 64 * 1024 + many * 512, "{peak} kB");
    note(
        "Hostile clients",
        "downloads of 16 MiB that are never read",
        many,
        &format!("other clients served, memory {} MiB at most", peak / 1024),
    );
}
