//! A registry whose storage is an object store: crossmount lists it, and does nothing else there.

mod azure;
mod check_command;
mod failures;
mod ghosts;
mod pushes;
mod report_command;
mod scan;
mod servers;

use crate::support::counting_proxy::CountingProxy;
use crate::support::registry::Registry;
use crate::support::seaweedfs::{self, Bucket, LISTER, SeaweedFs};
use crate::support::sidecar::{BINARY, Sidecar, command};
use crate::support::sidecar_metrics::whole;
use serde_json::{Value, json};
use std::process::Command;

/// A bucket, and a proxy that passes only lists of it.
fn listed() -> Option<(&'static SeaweedFs, Bucket, CountingProxy)> {
    let server = seaweedfs::start()?;
    let proxy = CountingProxy::start(server.port);
    proxy.pass_only_lists();
    Some((server, server.bucket(), proxy))
}

/// The configuration in front of a registry that writes its own links, with this store.
fn config(registry: &str, store: &Value) -> Value {
    json!({
        "listen": {"address": "127.0.0.1:0"},
        "admin": {"address": "127.0.0.1:0"},
        "upstream": {"url": registry},
        "mount": {"writer": "registry", "time_budget": "30s"},
        "access": {"mode": "none"},
        "store": store,
        "discovery": {"enabled": true, "on_head": true, "sources": "any"},
    })
}

/// A sidecar that may only list this bucket, at the proxy. No registry is behind it.
fn sidecar(bucket: &Bucket, proxy: &CountingProxy, change: impl FnOnce(&mut Value)) -> Sidecar {
    let mut settings = bucket.settings(proxy.port, LISTER);
    change(&mut settings);
    Sidecar::from(&config("http://127.0.0.1:1", &json!({"s3": settings})))
}

/// A sidecar in front of this registry that knows no bucket; `change` edits its configuration.
fn sidecar_of(registry: &Registry, mode: &str, change: impl FnOnce(&mut Value)) -> Sidecar {
    let mut config = config(&registry.url(), &json!({}));
    config["access"]["mode"] = json!(mode);
    config["mount"]["time_budget"] = json!("1s");
    change(&mut config);
    Sidecar::from(&config)
}

/// The same, and it lists this bucket at the proxy with credentials that may only list.
fn listed_by(registry: &Registry, bucket: &Bucket, proxy: &CountingProxy, mode: &str) -> Sidecar {
    sidecar_of(registry, mode, |config| {
        config["store"] = json!({"s3": bucket.settings(proxy.port, LISTER)});
    })
}

fn links(sidecar: &Sidecar) -> u64 {
    whole(sidecar.metric("crossmount_index_links", &[]))
}

fn requests(sidecar: &Sidecar, result: &str) -> u64 {
    whole(sidecar.metric("crossmount_bucket_requests_total", &[("result", result)]))
}

/// The binary with a user's credentials, and none of this machine's.
fn as_user(user: seaweedfs::User) -> Command {
    let mut command = command(BINARY);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_ACCESS_KEY_ID", user.access_key)
        .env("AWS_SECRET_ACCESS_KEY", user.secret_key);
    command
}
