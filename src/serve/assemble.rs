//! The parts of a request's way, joined.

use std::sync::Arc;

use pingora::server::configuration::ServerConf;

use crate::access::{Access, AccessError};
use crate::config::{Config, Upstream};
use crate::http::{Forwarding, Passing, RegistryProxy};
use crate::metrics::Metrics;
use crate::mount::{Mounts, Sightings};
use crate::ops::Drain;
use crate::store::Filesystem;
use crate::upstream::{Ask, Pulse, Standing};
use crate::workers::Workers;

/// More than any request tries: how often one is sent again is decided for each.
const ATTEMPTS: usize = 16;
/// Jobs on the disk at once. With syncs, sixteen threads reach most of what a disk gives.
const DISK_JOBS: usize = 16;
/// Jobs that wait for the disk before more are turned away.
const DISK_QUEUE: usize = 1024;
/// A file of roots that holds none.
const NO_ROOTS: &str = "/dev/null";

/// Joins the parts of the request's way.
pub(super) fn proxy(
    config: &Config,
    ask: &Arc<Ask>,
    drain: &Arc<Drain>,
    metrics: &Arc<Metrics>,
) -> Result<RegistryProxy, AccessError> {
    let standing = Arc::new(Standing::default());
    let pulse = Arc::new(Pulse::new(&config.upstream, standing.clone()));
    let workers = Arc::new(Workers::new(DISK_JOBS, DISK_QUEUE));
    let store = Arc::new(Filesystem::new(&config.store.root, config.store.durability));
    let access = Access::new(
        &config.access,
        ask.clone(),
        standing.clone(),
        pulse.clone(),
        metrics.clone(),
    )?;
    let sightings = Sightings::new(store.clone(), workers.clone(), standing.clone());
    let mounts = Arc::new(Mounts::new(
        access,
        store,
        workers,
        standing.clone(),
        config.mount,
        metrics.clone(),
    ));
    let trusted = config.upstream.trusted_proxies.clone();
    Ok(RegistryProxy::new(
        &config.upstream,
        Forwarding::new(trusted, config.tls.is_some()),
        mounts.clone(),
        Passing::new(&config.upstream.prefix, mounts, sightings, standing, pulse),
        drain.clone(),
        metrics.clone(),
    ))
}

/// What Pingora itself is told; the rest is decided for each request.
pub(super) fn pingora_settings(upstream: &Upstream) -> Arc<ServerConf> {
    let roots = match &upstream.ca_certificate {
        Some(path) => Some(path.display().to_string()),
        None if upstream.url.is_tls() => None,
        // Without TLS no root is needed: the system's cost memory and time, and one that
        // cannot be parsed would end the process.
        None => Some(NO_ROOTS.to_owned()),
    };
    Arc::new(ServerConf {
        max_retries: ATTEMPTS,
        ca_file: roots,
        ..ServerConf::default()
    })
}
