//! A HEAD waits for an upload of the same layer, if its client may pull where that goes.

mod callers;
mod client_programs;
mod interruptions;
mod leader;
mod leaks;
mod limits;
mod liveness;
mod recorded_pushes;

use crate::support::access_control::htpasswd_mode;
use crate::support::digest_of;
use crate::support::registry::Registry;
use crate::support::registry_client::Client;
use crate::support::sidecar::Sidecar;
use crate::support::sidecar_metrics::whole;
use crate::support::wait_until;
use serde_json::{Value, json};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

pub use leader::Leader;

/// A layer that several clients push at once: enough bytes for minutes of a slow upload.
pub const LAYER: &[u8] = &[7; 400];

/// Any repository may be a source, and a HEAD waits for so long.
pub fn waiting(config: &mut Value, bound: &str) {
    config["discovery"] = json!({
        "enabled": true, "on_head": true, "sources": "any", "wait_for_uploads": bound,
    });
}

/// A registry with passwords, and a sidecar that lets HEADs wait.
pub struct Case {
    pub registry: Registry,
    pub sidecar: Sidecar,
}

impl Case {
    pub fn with(bound: &str) -> Self {
        Self::configured(bound, |_| ())
    }

    pub fn configured(bound: &str, change: impl FnOnce(&mut Value)) -> Self {
        let users: Vec<_> = USERS.iter().map(|user| (*user, "right")).collect();
        let registry = Registry::with_htpasswd(&users);
        // The first scan finds a store: the next one would come half a minute later.
        let first = registry.client().basic("leader", "right");
        first.upload("first/app", b"the first layer of the store");
        let sidecar = Sidecar::with(&registry, |config| {
            htpasswd_mode(&registry)(config);
            waiting(config, bound);
            change(config);
        });
        sidecar.verify_store_as(&registry.client().basic("leader", "right"));
        sidecar.wait_for_scan();
        Self { registry, sidecar }
    }

    pub fn client(&self, user: &str) -> Client {
        self.sidecar.client().basic(user, "right")
    }

    pub fn held(&self) -> u64 {
        whole(
            self.sidecar
                .metric_meanwhile("crossmount_held_requests", &[]),
        )
    }

    pub fn ended(&self, result: &str) -> u64 {
        let name = "crossmount_held_requests_total";
        whole(self.sidecar.metric_meanwhile(name, &[("result", result)]))
    }

    #[track_caller]
    pub fn wait_until_held(&self, number: u64) {
        wait_until("so many are held", || self.held() == number);
    }

    /// Waits until a HEAD of `one` for [`LAYER`] is held. Then `event` ends its wait, with the
    /// registry's 404. Returns the time that the event and the response took.
    #[track_caller]
    pub fn held_head_ends_with_404(&mut self, event: impl FnOnce(&mut Self)) -> Duration {
        let client = self.client("one");
        thread::scope(|scope| {
            let held = scope.spawn(|| client.head_blob("one/app", &digest_of(LAYER)).status);
            self.wait_until_held(1);
            let began = Instant::now();
            event(self);
            assert_eq!(held.join().unwrap(), 404);
            began.elapsed()
        })
    }
}

const USERS: &[&str] = &["leader", "one", "two", "three", "four"];

/// What a client got, and after which time.
pub struct Got {
    pub status: u16,
    pub after: Duration,
}

/// Asks for the layer in `repository`; if it is not there, uploads it.
pub fn push(client: &Client, repository: &str, layer: &[u8]) -> Got {
    let began = Instant::now();
    let status = client.head_blob(repository, &digest_of(layer)).status;
    let after = began.elapsed();
    if status == 404 {
        client.upload(repository, layer);
    }
    Got { status, after }
}

pub fn statuses(pushes: Vec<ScopedJoinHandle<'_, Got>>) -> Vec<u16> {
    let mut all: Vec<_> = pushes
        .into_iter()
        .map(|push| push.join().unwrap().status)
        .collect();
    all.sort_unstable();
    all
}
