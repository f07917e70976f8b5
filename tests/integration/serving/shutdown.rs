//! Signals: what is in flight is finished within its time, and a second signal waits for nothing.

use crate::{needs, support};
use rustix::process::Signal;
use serde_json::json;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::generated_body::{MIB, assert_memory_is_flat, digest_of_body, send_body_with};
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, ok};
use support::program_run::Home;
use support::registry::Registry;
use support::registry_client::closing;
use support::sidecar::{Sidecar, config};
use support::{raw_http, wait_until};

/// An upstream that answers when it is told to, and a sidecar that ends without delay.
fn slow(drain_delay: &str) -> (Sidecar, mpsc::Sender<()>, MisbehavingUpstream, Home) {
    slow_until(drain_delay, "30s")
}

fn slow_until(
    drain_delay: &str,
    timeout: &str,
) -> (Sidecar, mpsc::Sender<()>, MisbehavingUpstream, Home) {
    let (tell, told) = mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let upstream = MisbehavingUpstream::start(move |heard| {
        if heard.target.contains("slow") {
            told.lock().unwrap().recv().unwrap();
        }
        Reply::Answer(ok("in the end"))
    });
    let home = Home::new();
    let mut config = config(&upstream.url(), &home.root());
    config["shutdown"] = json!({"drain_delay": drain_delay, "timeout": timeout});
    (Sidecar::from(&config), tell, upstream, home)
}

#[test]
fn a_terminated_process_ends_when_what_is_in_flight_is_done() {
    let (mut sidecar, tell, upstream, _home) = slow("0s");
    let client = sidecar.client();
    let waiting = std::thread::spawn(move || client.get("/v2/slow"));
    wait_until("the request is in flight", || upstream.count("GET") == 1);
    sidecar.signal(Signal::TERM);
    wait_until("the listener is closed", || {
        raw_http::Connection::to(sidecar.port).is_err()
    });
    assert!(sidecar.is_running());
    tell.send(()).unwrap();
    assert_eq!(waiting.join().unwrap().expect(200).text(), "in the end");
    assert_eq!(sidecar.wait_for_exit().code(), Some(0));
}

#[test]
fn before_it_closes_the_listener_it_is_not_ready_but_still_answers() {
    let (mut sidecar, _tell, _upstream, _home) = slow("2s");
    wait_until("it is ready", || {
        raw_http::get(sidecar.admin, "/readyz").status == 200
    });
    sidecar.signal(Signal::TERM);
    wait_until("it is not ready", || {
        raw_http::get(sidecar.admin, "/readyz").status == 503
    });
    sidecar.client().get("/v2/").expect(200);
    raw_http::get(sidecar.admin, "/healthz").expect(200);
    assert_eq!(sidecar.wait_for_exit().code(), Some(0));
}

#[test]
fn an_upload_of_two_gibibytes_that_is_on_its_way_is_finished() {
    needs!("docker-registry");
    let registry = Registry::start();
    let mut sidecar = Sidecar::with(&registry, |config| {
        config["shutdown"] = json!({"drain_delay": "0s", "timeout": "5m"});
    });
    let count = 2048;
    let digest = digest_of_body(count);
    let opened = sidecar.client().begin("big").expect(202);
    let told = |number| {
        if number == count / 8 {
            sidecar.signal(Signal::TERM);
            wait_until("nobody else is taken", || {
                raw_http::Connection::to(sidecar.port).is_err()
            });
        }
    };
    let target = closing(&opened, &digest);
    let mut upload = send_body_with(&sidecar, "PUT", &target, count, false, told);
    assert_memory_is_flat(&sidecar);
    upload.answer("PUT").unwrap().expect(201);
    assert_eq!(sidecar.wait_for_exit().code(), Some(0));
    let stored = std::fs::metadata(registry.store.data(&digest)).unwrap();
    assert_eq!(stored.len(), (count * MIB) as u64);
}

#[test]
fn what_is_not_done_when_the_time_is_up_is_broken_off_and_the_end_is_a_good_one() {
    let (mut sidecar, tell, upstream, _home) = slow_until("0s", "1s");
    let client = sidecar.client();
    let waiting =
        std::thread::spawn(move || client.request("GET", "/v2/slow").try_send(client.port));
    wait_until("the request is in flight", || upstream.count("GET") == 1);
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.wait_for_exit().code(), Some(0));
    sidecar.wait_for_log("requests aborted at shutdown");
    let _ = tell.send(());
    assert!(waiting.join().unwrap().is_err());
}

#[test]
fn while_it_drains_connections_are_asked_to_go_elsewhere() {
    let (sidecar, _tell, _upstream, _home) = slow("20s");
    let client = sidecar.client();
    let (mut kept, request) = (client.connect(), client.request("GET", "/v2/"));
    let mut ask = || {
        kept.write(&request.bytes(client.port)).unwrap();
        let answer = kept.answer("GET").unwrap().expect(200);
        answer.header("Connection").map(str::to_owned)
    };
    assert_ne!(ask().as_deref(), Some("close"));
    sidecar.signal(Signal::TERM);
    wait_until("it is not ready", || {
        raw_http::get(sidecar.admin, "/readyz").status == 503
    });
    assert_eq!(ask().as_deref(), Some("close"));
    assert_eq!(
        client.get("/v2/").expect(200).header("Connection"),
        Some("close")
    );
}

#[test]
fn it_ends_calmly_where_the_registry_ended_before() {
    needs!("docker-registry");
    let mut registry = Registry::start();
    let mut sidecar = Sidecar::with(&registry, |config| {
        config["shutdown"] = json!({"drain_delay": "3s"});
    });
    sidecar.client().get("/v2/").expect(200);
    registry.kill();
    sidecar.signal(Signal::TERM);
    wait_until("it says that it drains", || {
        let ready = raw_http::get(sidecar.admin, "/readyz").expect(503);
        ready.text().contains("draining")
    });
    let answer = sidecar.client().get("/v2/").expect(503);
    assert_eq!(answer.header("Retry-After"), Some("1"));
    assert_eq!(sidecar.wait_for_exit().code(), Some(0));
    assert!(!sidecar.log().contains("ERROR"), "{}", sidecar.log());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut sidecar, tell, upstream, _home) = slow("30s");
    let client = sidecar.client();
    let waiting =
        std::thread::spawn(move || client.request("GET", "/v2/slow").try_send(client.port));
    wait_until("the request is in flight", || upstream.count("GET") == 1);
    let start = Instant::now();
    sidecar.signal(Signal::TERM);
    wait_until("it is not ready", || {
        raw_http::get(sidecar.admin, "/readyz").status == 503
    });
    sidecar.signal(Signal::TERM);
    sidecar.wait_for_exit();
    assert!(start.elapsed() < Duration::from_secs(20));
    let _ = tell.send(());
    assert!(waiting.join().unwrap().is_err());
}

#[test]
fn an_interrupt_ends_it_too() {
    let (mut sidecar, _tell, _upstream, _home) = slow("0s");
    sidecar.client().get("/v2/").expect(200);
    sidecar.signal(Signal::INT);
    assert_eq!(sidecar.wait_for_exit().code(), Some(0));
}
