//! A pod ends as the kubelet ends it, in both forms: what is in flight is finished, and a pod with
//! nothing in flight does not wait.
//!
//! With a plain container, crossmount gets SIGTERM at once, and the registry after its `preStop`
//! hook. A native sidecar gets it after the registry has ended.

use crate::needs;
use crate::support::raw_http::{self, Answer, Connection, Request};
use crate::support::registry::Registry;
use crate::support::registry_client::{Client, closing};
use crate::support::sidecar::Sidecar;
use crate::support::{digest_of, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

const LAYER: &[u8] = b"a layer whose upload is in flight";
/// How long the hook may take; a pod that waits for that waits in vain.
const WITHIN: Duration = Duration::from_secs(60);

struct Pod {
    registry: Registry,
    sidecar: Sidecar,
}

impl Pod {
    fn with(drain_delay: &str) -> Self {
        let registry = Registry::start();
        let sidecar = Sidecar::with(&registry, |config| {
            config["shutdown"] = json!({"drain_delay": drain_delay, "timeout": "50s"});
        });
        Self { registry, sidecar }
    }

    fn plain() -> Self {
        Self::with("1s")
    }

    fn native() -> Self {
        Self::with("0s")
    }

    /// The `preStop` hook of the registry's container.
    fn ask(&self) -> JoinHandle<(Answer, Instant)> {
        let (admin, within) = (self.sidecar.admin, WITHIN.as_secs());
        spawn(move || {
            let answer = raw_http::get(admin, &format!("/drained?after=1s&within={within}s"));
            (answer, Instant::now())
        })
    }

    /// The same, at a time when crossmount has heard of it.
    fn hook(&self) -> JoinHandle<(Answer, Instant)> {
        let hook = self.ask();
        let client = self.sidecar.client();
        wait_until("connections are closed after a response", || {
            let answer = client.get("/v2/").expect(200);
            answer.header("Connection") == Some("close")
        });
        hook
    }

    /// The registry ends after the hook, and then the sidecar, which may have ended before.
    fn ends(mut self, is_native: bool) {
        self.registry.end();
        if is_native {
            assert!(self.sidecar.is_running());
            self.sidecar.signal(Signal::TERM);
        }
        assert_eq!(self.sidecar.wait_for_exit().code(), Some(0));
    }
}

fn drained(hook: JoinHandle<(Answer, Instant)>) -> Instant {
    let (answer, at) = hook.join().unwrap();
    assert_eq!(answer.expect(200).text(), "drained\n");
    at
}

/// Begins an upload, and gives what ends it.
fn upload_in_flight(client: Client) -> impl FnOnce() {
    let session = client.begin("app").expect(202);
    let mut patch = client.begin_chunks("PATCH", &session.location_path());
    patch.write_chunk(&LAYER[..5]).unwrap();
    move || {
        patch.write_chunk(&LAYER[5..]).unwrap();
        patch.write_chunk(b"").unwrap();
        let answer = patch.answer("PATCH").unwrap().expect(202);
        // A kept connection is served also while the port is closed to others.
        let end = closing(&answer, &digest_of(LAYER));
        client.request("PUT", &end).send(client.port).expect(201);
    }
}

#[test]
fn a_pod_with_nothing_in_flight_ends_at_once() {
    needs!("docker-registry");
    for is_native in [false, true] {
        let pod = if is_native {
            Pod::native()
        } else {
            Pod::plain()
        };
        let began = Instant::now();
        let hook = pod.hook();
        if !is_native {
            pod.sidecar.signal(Signal::TERM);
        }
        drained(hook);
        pod.ends(is_native);
        assert!(began.elapsed() < WITHIN / 2, "{:?}", began.elapsed());
    }
}

#[test]
fn the_registry_of_a_native_sidecar_ends_after_the_upload_in_flight() {
    needs!("docker-registry");
    let pod = Pod::native();
    let end_upload = upload_in_flight(pod.sidecar.client());
    let hook = pod.hook();
    // Longer than a hook with nothing in flight.
    std::thread::sleep(Duration::from_secs(3));
    assert!(!hook.is_finished());
    end_upload();
    let uploaded = Instant::now();
    assert!(drained(hook) > uploaded);
    assert_eq!(pod.registry.client().pull("app", &digest_of(LAYER)), LAYER);
    pod.ends(true);
}

#[test]
fn the_registry_of_a_plain_container_ends_after_the_request_in_flight() {
    needs!("docker-registry");
    a_plain_pod_ends_after_a_put(|pod| {
        let hook = pod.hook();
        pod.sidecar.signal(Signal::TERM);
        hook
    });
}

/// The kubelet does both at once.
#[test]
fn it_does_too_if_crossmount_gets_its_signal_before_the_hook() {
    needs!("docker-registry");
    a_plain_pod_ends_after_a_put(|pod| {
        pod.sidecar.signal(Signal::TERM);
        wait_until("crossmount drains", || {
            raw_http::get(pod.sidecar.admin, "/readyz").status != 200
        });
        pod.ask()
    });
}

fn a_plain_pod_ends_after_a_put(begin: impl FnOnce(&Pod) -> JoinHandle<(Answer, Instant)>) {
    let pod = Pod::plain();
    let client = pod.sidecar.client();
    let session = client.begin("app").expect(202);
    let end = closing(&session, &digest_of(LAYER));
    let mut put = client.begin_chunks("PUT", &end);
    put.write_chunk(&LAYER[..5]).unwrap();
    let hook = begin(&pod);
    wait_until("the port is closed", || {
        Connection::to(pod.sidecar.port).is_err()
    });
    std::thread::sleep(Duration::from_secs(2));
    assert!(!hook.is_finished());
    put.write_chunk(&LAYER[5..]).unwrap();
    put.write_chunk(b"").unwrap();
    put.answer("PUT").unwrap().expect(201);
    let uploaded = Instant::now();
    assert!(drained(hook) > uploaded);
    pod.ends(false);
}

#[test]
fn a_hook_ends_when_its_time_is_up_and_says_so() {
    needs!("docker-registry");
    let pod = Pod::native();
    let end_upload = upload_in_flight(pod.sidecar.client());
    let answer = raw_http::get(pod.sidecar.admin, "/drained?after=0s&within=1s");
    assert_eq!(answer.expect(200).text(), "the time is up\n");
    end_upload();
    let answer = raw_http::get(pod.sidecar.admin, "/drained?wait=1s").expect(400);
    assert_eq!(
        answer.text(),
        "the parameters are after and within, not \"wait\"\n"
    );
    // The pod goes on.
    let answer = pod.sidecar.client().get("/v2/").expect(200);
    assert_ne!(answer.header("Connection"), Some("close"));
}

#[test]
fn a_hook_ends_with_its_caller() {
    needs!("docker-registry");
    let pod = Pod::native();
    let mut caller = Connection::to(pod.sidecar.admin).unwrap();
    let request = Request::new("GET", "/drained?after=60s&within=60s");
    caller.write(&request.bytes(pod.sidecar.admin)).unwrap();
    let client = pod.sidecar.client();
    let is_closed = || client.get("/v2/").expect(200).header("Connection") == Some("close");
    wait_until("connections are closed after a response", is_closed);
    drop(caller);
    wait_until("connections are kept again", || !is_closed());
}
