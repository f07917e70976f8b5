//! What replicas share through a real Redis.

mod check_command;
mod cluster;
mod failures;
mod generic;
mod hostile;
mod in_flight;
mod observer;
mod pulp_registry;
mod replicas;
mod secrecy;
mod tls;

use crate::support;
use support::redis::RedisServer;
use support::registry::Registry;
use support::registry_client::Client;
use support::sidecar::Sidecar;
use support::wait_until;

const USERS: &[(&str, &str)] = &[("alice", "right"), ("bob", "also right")];

/// How a login is written in a request.
fn authorization((user, password): (&str, &str)) -> String {
    let pair = support::base64(format!("{user}:{password}").as_bytes());
    format!("Basic {pair}")
}

/// A registry with passwords and a first layer: an empty store is scanned again only later.
fn with_passwords() -> Registry {
    let registry = Registry::with_htpasswd(USERS);
    let (user, password) = USERS[0];
    let client = registry.client().basic(user, password);
    client.upload("first/layer", b"the first layer");
    registry
}

/// In front of this registry, which decides about access; ready to link.
fn replica(registry: &Registry, redis: &RedisServer) -> Sidecar {
    replica_at(registry, &redis.url())
}

fn replica_at(registry: &Registry, url: &str) -> Sidecar {
    let sidecar = Sidecar::with(registry, |config| {
        config["access"] = serde_json::json!({"mode": "upstream"});
        support::redis::sharing(url)(config);
    });
    sidecar.verify_store_as(&user(&sidecar, 0));
    sidecar.wait_for_scan();
    sidecar
}

/// A replica, and why it does not use the server. A machine that is too slow for a first connection
/// says no more than that, so the replica is started anew.
fn refused(start: impl Fn() -> Sidecar) -> (Sidecar, String) {
    let mut found = None;
    wait_until("the server is seen", || {
        let sidecar = start();
        let line = sidecar.log_lines_with("redis not usable", 1).remove(0);
        let error = line["error"].as_str().unwrap().to_owned();
        let is_late = error == "timed out" || error.starts_with("sent no response");
        found = Some((sidecar, error)).filter(|_| !is_late);
        found.is_some()
    });
    found.unwrap()
}

/// One of the users.
fn user(sidecar: &Sidecar, number: usize) -> Client {
    let (user, password) = USERS[number];
    sidecar.client().basic(user, password)
}
