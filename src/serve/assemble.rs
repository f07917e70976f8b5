//! The parts of a request's way, joined.

use std::sync::Arc;

use pingora::server::configuration::ServerConf;

use super::StartError;
use crate::access::Access;
use crate::config::{Config, Distribution, Kind, Pulp, Upstream};
use crate::discovery::{Discovery, survey};
use crate::http::{Forwarding, Linking, Mending, Passing, RegistryProxy, TokenEndpoint, Way};
use crate::metrics::Metrics;
use crate::mount::{Mounts, Sightings};
use crate::native::{Generic, Native};
use crate::oci::Patterns;
use crate::ops::Drain;
use crate::relay::Relay;
use crate::store::Filesystem;
use crate::tokens::TokenAnswers;
use crate::upstream::{Ask, Exchange, Peers, Pulse, Standing};
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
) -> Result<RegistryProxy, StartError> {
    let upstream = &config.upstream;
    let peers = Arc::new(Peers::new(upstream));
    let exchange = Arc::new(Exchange::new(
        &pingora_settings(upstream),
        peers.clone(),
        upstream.timeouts.idle,
    ));
    let way = match &config.kind {
        Kind::Distribution(settings) => {
            let (ask, exchange) = (ask.clone(), exchange.clone());
            Way::Linking(linking(settings, upstream, ask, exchange, metrics.clone())?)
        }
        Kind::Pulp(settings) => {
            let (prefix, exchange) = (&upstream.prefix, exchange.clone());
            Way::Mending(pulp(settings, prefix, exchange, metrics.clone())?)
        }
        Kind::Generic(settings) => {
            let native = Native::Generic(Box::new(Generic::new(settings)?));
            Way::Mending(Mending::new(
                native,
                exchange.clone(),
                None,
                metrics.clone(),
            ))
        }
    };
    let tokens = match &config.token_cache {
        Some(settings) => {
            let answers = TokenAnswers::new(settings)?;
            Some(TokenEndpoint::new(answers, exchange, metrics.clone()))
        }
        None => None,
    };
    Ok(RegistryProxy::new(
        upstream,
        Forwarding::new(upstream.trusted_proxies.clone(), config.tls.is_some()),
        peers,
        way,
        tokens,
        drain.clone(),
        metrics.clone(),
    ))
}

/// Links in distribution's store.
fn linking(
    settings: &Distribution,
    upstream: &Upstream,
    ask: Arc<Ask>,
    exchange: Arc<Exchange>,
    metrics: Arc<Metrics>,
) -> Result<Linking, StartError> {
    let standing = Arc::new(Standing::default());
    let pulse = Arc::new(Pulse::new(upstream, standing.clone()));
    let workers = Arc::new(Workers::new(DISK_JOBS, DISK_QUEUE));
    let store = &settings.store;
    let store = Arc::new(Filesystem::new(&store.root, store.durability));
    let shared = settings
        .discovery
        .as_ref()
        .map(|discovery| &discovery.shared);
    let access = Access::new(
        &settings.access,
        shared.unwrap_or(&Patterns::default()),
        ask,
        standing.clone(),
        pulse.clone(),
        metrics.clone(),
    )?;
    let discovery = settings.discovery.clone().map(Discovery::new).map(Arc::new);
    let sightings = Sightings::new(store.clone(), workers.clone(), standing.clone());
    let mounts = Arc::new(Mounts::new(
        access,
        store,
        workers,
        standing.clone(),
        settings.mount,
        discovery.clone(),
        metrics.clone(),
    ));
    let passing = Passing::new(&upstream.prefix, mounts.clone(), sightings, standing, pulse);
    let survey = match &discovery {
        Some(discovery) => {
            let store = Filesystem::new(&settings.store.root, settings.store.durability);
            let survey = survey(store, discovery.clone(), metrics.clone());
            Some(survey.map_err(StartError::Survey)?)
        }
        None => None,
    };
    Ok(Linking::new(
        upstream, mounts, passing, exchange, survey, metrics,
    ))
}

/// Pulp's own mount, and its artifacts where they are given.
fn pulp(
    settings: &Pulp,
    prefix: &str,
    exchange: Arc<Exchange>,
    metrics: Arc<Metrics>,
) -> Result<Mending, StartError> {
    let relay = match &settings.artifacts {
        Some(artifacts) => {
            let relay = Relay::new(exchange.clone(), prefix, artifacts, metrics.clone())?;
            Some(Arc::new(relay))
        }
        None => None,
    };
    Ok(Mending::new(Native::Pulp, exchange, relay, metrics))
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
