//! Uploads through one replica, for which HEADs through another one wait.

mod callers;
mod client_programs;
mod failures;
mod hostile;
mod liveness;
mod other_servers;
mod secrecy;

use crate::discovery::wait_for_uploads::{Got, LAYER, Leader, push, statuses};
use crate::{needs, support};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};
use support::access_control::htpasswd_mode;
use support::digest_of;
use support::redis::{RedisServer, sharing};
use support::registry::Registry;
use support::registry_client::Client;
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;
use support::wait_until;

const USERS: &[&str] = &["leader", "one", "two", "three", "four"];

/// Any repository may be a source, HEADs wait, and replicas share what they know.
fn waiting(url: &str, bound: &str) -> impl Fn(&mut Value) + use<> {
    let (share, bound) = (sharing(url), bound.to_owned());
    move |config| {
        share(config);
        config["discovery"]["wait_for_uploads"] = json!(bound);
    }
}

fn with_users() -> Registry {
    let users: Vec<_> = USERS.iter().map(|user| (*user, "right")).collect();
    let registry = Registry::with_htpasswd(&users);
    // The first scan finds a store: the next one would come half a minute later.
    let first = registry.client().basic("leader", "right");
    first.upload("first/app", b"the first layer of the store");
    registry
}

/// Two replicas before one registry with passwords.
struct Pair {
    registry: Registry,
    replicas: [Sidecar; 2],
}

impl Pair {
    fn through(redis: &RedisServer, bound: &str) -> Self {
        Self::at(&redis.url(), bound)
    }

    fn at(url: &str, bound: &str) -> Self {
        let registry = with_users();
        let replicas = [(); 2].map(|()| {
            let sidecar = Sidecar::with(&registry, |config| {
                htpasswd_mode(&registry)(config);
                waiting(url, bound)(config);
            });
            sidecar.verify_store_as(&registry.client().basic("leader", "right"));
            sidecar.wait_for_scan();
            sidecar
        });
        Self { registry, replicas }
    }

    /// In front of a registry of which crossmount knows nothing. One login has pushed everywhere.
    fn generic(redis: &RedisServer, bound: &str) -> Self {
        let registry = with_users();
        let replicas = [(); 2].map(|()| {
            let sidecar = Sidecar::generic(&registry.url(), waiting(&redis.url(), bound));
            for user in USERS {
                let client = sidecar.client().basic("leader", "right");
                client.upload(&format!("{user}/app"), b"its first layer");
            }
            sidecar
        });
        Self { registry, replicas }
    }

    fn client(&self, replica: usize, user: &str) -> Client {
        self.replicas[replica].client().basic(user, "right")
    }

    fn held(&self, replica: usize) -> u64 {
        let sidecar = &self.replicas[replica];
        whole(sidecar.metric_meanwhile("crossmount_held_requests", &[]))
    }

    fn ended(&self, replica: usize, result: &str) -> u64 {
        let name = "crossmount_held_requests_total";
        let sidecar = &self.replicas[replica];
        whole(sidecar.metric_meanwhile(name, &[("result", result)]))
    }

    #[track_caller]
    fn wait_until_held(&self, replica: usize, number: u64) {
        wait_until("so many are held", || self.held(replica) == number);
    }

    /// Two clients at each replica push the layer while it is being uploaded, until `end` is done.
    fn four_push(&self, clients: [Client; 4], end: impl FnOnce()) -> Vec<Got> {
        thread::scope(|scope| {
            let pushes = clients.into_iter().zip(&USERS[1..]);
            let pushes = pushes.map(|(client, user)| {
                scope.spawn(move || push(&client, &format!("{user}/app"), LAYER))
            });
            let pushes: Vec<_> = pushes.collect();
            for replica in [0, 1] {
                self.wait_until_held(replica, 2);
            }
            end();
            pushes
                .into_iter()
                .map(|push| push.join().unwrap())
                .collect()
        })
    }

    fn each_users_clients(&self) -> [Client; 4] {
        [(0, "one"), (1, "two"), (0, "three"), (1, "four")]
            .map(|(replica, user)| self.client(replica, user))
    }
}

fn sorted(all: &[Got]) -> Vec<u16> {
    let mut all: Vec<_> = all.iter().map(|got| got.status).collect();
    all.sort_unstable();
    all
}

#[test]
fn all_that_ask_at_any_replica_get_the_layer_of_one_upload() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let pair = Pair::through(&redis, "30s");
    let leader = Leader::begins(pair.client(0, "leader"), "leader/app", LAYER);
    let mut arrived = Instant::now();
    let all = pair.four_push(pair.each_users_clients(), || {
        leader.ends();
        arrived = Instant::now();
    });
    assert_eq!(sorted(&all), [200; 4]);
    assert!(arrived.elapsed() < Duration::from_secs(2));
    for (replica, sidecar) in pair.replicas.iter().enumerate() {
        assert_eq!((pair.held(replica), pair.ended(replica, "linked")), (0, 2));
        let bytes = sidecar.metric("crossmount_mounted_bytes_total", &[("via", "wait")]);
        assert_eq!(whole(bytes), 2 * LAYER.len() as u64);
    }
    for user in &USERS[1..] {
        let client = pair.registry.client().basic(user, "right");
        let pulled = client.pull(&format!("{user}/app"), &digest_of(LAYER));
        assert_eq!(pulled, LAYER);
    }
}

#[test]
fn of_two_that_ask_two_replicas_at_the_same_moment_one_goes_on() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let pair = Pair::through(&redis, "30s");
    for number in 0..12 {
        let layer = format!("layer {number}").into_bytes();
        let start = std::sync::Barrier::new(2);
        let asked = thread::scope(|scope| {
            let pushes = [(0, "one"), (1, "two")].map(|(replica, user)| {
                let (client, layer, start) = (pair.client(replica, user), &layer, &start);
                scope.spawn(move || {
                    start.wait();
                    push(&client, &format!("{user}/app"), layer)
                })
            });
            statuses(pushes.into())
        });
        assert_eq!(asked, [200, 404], "{number}");
    }
}
