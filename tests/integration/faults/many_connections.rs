//! Ten thousand connections, and more of them than the process may have.

use crate::{needs, support};
use rustix::process::Signal;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};
use support::figures::note;
use support::image::Image;
use support::misbehaving_upstream::{MisbehavingUpstream, in_front_of};
use support::raw_http::{Connection, Request};
use support::registry::Registry;
use support::sidecar::{self, BINARY, Sidecar};
use support::{process_usage, wait_until};

const MANY: usize = 10_000;
/// Requests in flight at once.
const AT_ONCE: usize = 200;

fn ask(connection: &mut Connection, port: u16) {
    let request = Request::new("GET", "/v2/").bytes(port);
    connection.write(&request).unwrap();
    connection.answer("GET").unwrap().expect(200);
}

/// Each asks before any is answered.
fn ask_at_once(connections: &mut [Connection], port: u16) {
    let request = Request::new("GET", "/v2/").bytes(port);
    for connection in &mut *connections {
        connection.write(&request).unwrap();
    }
    for connection in connections {
        connection.answer("GET").unwrap().expect(200);
    }
}

#[test]
fn ten_thousand_connections_are_held_and_given_back() {
    needs!("docker-registry");
    assert!(
        process_usage::allow_descriptors(MANY as u64 + 5000),
        "not root?"
    );
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, |config| {
        // Kept connections to the registry are not what is counted here.
        config["upstream"]["timeouts"] = serde_json::json!({"idle": "1s"});
    });
    sidecar.verify_store();
    let client = sidecar.client();
    let image = Image::of(&["a layer", "another"], 200_000);
    image.push(&client, "source", "v1");
    ask(&mut sidecar.client().connect(), sidecar.port);
    let (descriptors, memory) = (sidecar.descriptors(), sidecar.memory("VmRSS"));
    let mut held: Vec<_> = (0..MANY)
        .map(|_| {
            let mut connection = sidecar.client().connect();
            ask(&mut connection, sidecar.port);
            connection
        })
        .collect();
    assert!(sidecar.descriptors() >= MANY);
    let each = (sidecar.memory("VmRSS") - memory) * 1024 / MANY as u64;
    for (at, some) in held.chunks_mut(MANY / 10).enumerate() {
        ask_at_once(&mut some[..AT_ONCE], sidecar.port);
        let target = format!("target/{at}");
        for blob in image.blobs() {
            client.mount(&target, &blob.digest, "source").expect(201);
        }
        client
            .put_manifest(&target, "v1", &image.manifest.bytes)
            .expect(201);
        image.pull(&client, &target, "v1");
    }
    assert!(sidecar.descriptors() >= MANY);
    drop(held);
    wait_until("all are given back", || {
        sidecar.descriptors() < descriptors + 20
    });
    ask(&mut sidecar.client().connect(), sidecar.port);
    assert_eq!(sidecar.mounted(), 10 * image.blobs().count() as u64);
    assert!(each < 48 * 1024, "{each} bytes for each connection");
    note(
        "Hostile clients",
        "connections held at once, each after a request",
        MANY as u64,
        &format!(
            "all served and given back, mounts and pulls as always meanwhile, {each} bytes of memory for each"
        ),
    );
}

/// The binary with these limits of open files.
fn limited(limits: &str, upstream: &MisbehavingUpstream) -> (Sidecar, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let mut command: Command = sidecar::command("sh");
    command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\""), BINARY]);
    let config = sidecar::config(&upstream.url(), root.path());
    (Sidecar::launch(command, &config), root)
}

#[test]
fn the_process_takes_all_descriptors_that_it_may_have() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = limited("ulimit -S -n 100; ulimit -H -n 1000", &upstream);
    let (soft, hard) = sidecar.descriptor_limits();
    assert_eq!((&*soft, &*hard), ("1000", "1000"));
    let mut held: Vec<_> = (0..300).map(|_| sidecar.client().connect()).collect();
    for connection in &mut held {
        ask(connection, sidecar.port);
    }
}

#[test]
fn a_burst_of_connections_waits_in_line() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (sidecar, _root) = in_front_of(&upstream, |_| ());
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let many = most.trim().parse::<usize>().unwrap().min(1000);
    // Nothing is accepted meanwhile, as where the machine is busy with something else.
    sidecar.signal(Signal::STOP);
    let address = ([127, 0, 0, 1], sidecar.port).into();
    let held: Vec<_> = (0..many)
        .map(|at| {
            let connection = TcpStream::connect_timeout(&address, Duration::from_millis(900));
            connection.unwrap_or_else(|error| panic!("connection {at}: {error}"))
        })
        .collect();
    sidecar.signal(Signal::CONT);
    wait_until("all are accepted", || sidecar.descriptors() > held.len());
    note(
        "Hostile clients",
        "connections in one burst, before any is accepted",
        many as u64,
        "all of them accepted later, none had to try again",
    );
}

#[test]
fn without_descriptors_the_process_waits_and_recovers() {
    let upstream = MisbehavingUpstream::always_answering("fine");
    let (mut sidecar, _root) = limited("ulimit -n 120", &upstream);
    let mut early = sidecar.client().connect();
    ask(&mut early, sidecar.port);
    let connect = || TcpStream::connect(("127.0.0.1", sidecar.port)).unwrap();
    let held: Vec<_> = (0..400).map(|_| connect()).collect();
    let complaints = |sidecar: &Sidecar| sidecar.log().matches("connection accept failed").count();
    wait_until("no more are accepted", || complaints(&sidecar) > 0);
    let (began, computed) = (Instant::now(), sidecar.computed());
    std::thread::sleep(Duration::from_secs(2));
    let (took, computed) = (began.elapsed(), sidecar.computed().saturating_sub(computed));
    assert!(
        computed * 4 < took,
        "it computed for {computed:?} of {took:?}"
    );
    assert_eq!(complaints(&sidecar), 1);
    // Who is connected already, on both sides, is served.
    ask(&mut early, sidecar.port);
    drop(held);
    wait_until("new connections are served again", || {
        Request::new("GET", "/v2/")
            .try_send(sidecar.port)
            .is_ok_and(|answer| answer.status == 200)
    });
    assert!(sidecar.is_running());
    note(
        "Hostile clients",
        "more connections than the process may have descriptors",
        400,
        "no more accepted until some are given back; those there served, no CPU used",
    );
}
