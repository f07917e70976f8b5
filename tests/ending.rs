//! Signals: what is in flight is finished, and a second signal waits for nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod support;

use rustix::process::Signal;
use serde_json::json;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::faulty::{Faulty, Verdict, ok};
use support::program::Home;
use support::sidecar::{Sidecar, config};
use support::{wait_until, wire};

/// An upstream that answers when it is told to, and a sidecar that ends without delay.
fn slow(drain_delay: &str) -> (Sidecar, mpsc::Sender<()>, Faulty, Home) {
    let (tell, told) = mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let upstream = Faulty::start(move |heard| {
        if heard.target.contains("slow") {
            told.lock().unwrap().recv().unwrap();
        }
        Verdict::Answer(ok("in the end"))
    });
    let home = Home::new();
    let mut config = config(&upstream.url(), &home.root());
    config["shutdown"] = json!({"drain_delay": drain_delay, "timeout": "30s"});
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
        wire::Connection::to(sidecar.port).is_err()
    });
    assert!(sidecar.is_running());
    tell.send(()).unwrap();
    assert_eq!(waiting.join().unwrap().expect(200).text(), "in the end");
    assert_eq!(sidecar.ended().code(), Some(0));
}

#[test]
fn before_it_closes_the_listener_it_is_not_ready_but_still_answers() {
    let (mut sidecar, _tell, _upstream, _home) = slow("2s");
    wait_until("it is ready", || {
        wire::get(sidecar.admin, "/readyz").status == 200
    });
    sidecar.signal(Signal::TERM);
    wait_until("it is not ready", || {
        wire::get(sidecar.admin, "/readyz").status == 503
    });
    sidecar.client().get("/v2/").expect(200);
    wire::get(sidecar.admin, "/healthz").expect(200);
    assert_eq!(sidecar.ended().code(), Some(0));
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
        wire::get(sidecar.admin, "/readyz").status == 503
    });
    sidecar.signal(Signal::TERM);
    sidecar.ended();
    assert!(start.elapsed() < Duration::from_secs(20));
    let _ = tell.send(());
    assert!(waiting.join().unwrap().is_err());
}

#[test]
fn an_interrupt_ends_it_too() {
    let (mut sidecar, _tell, _upstream, _home) = slow("0s");
    sidecar.client().get("/v2/").expect(200);
    sidecar.signal(Signal::INT);
    assert_eq!(sidecar.ended().code(), Some(0));
}
