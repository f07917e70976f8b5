//! The parts of a request's way, joined.

use std::sync::Arc;
use std::time::Duration;

use pingora::server::configuration::ServerConf;

use super::StartError;
use crate::access::{Access, Claims, Used};
use crate::config::{self, Config, Distribution, Kind, Upstream};
use crate::discovery::{Discovery, survey};
use crate::http::{
    Forwarding, Linking, Mending, Passing, RegistryProxy, Suggesting, TokenEndpoint, Way,
};
use crate::metrics::Metrics;
use crate::mount::{Mounts, Sightings};
use crate::native::{Generic, Native};
use crate::notifications::Notifier;
use crate::oci::{Patterns, RepositoryName};
use crate::ops::Drain;
use crate::relay::Relay;
use crate::store::{Abandoned, Filesystem};
use crate::tokens::{TokenAnswers, Widening};
use crate::upstream::{Ask, Asker, Exchange, Peers, Pulse, Standing, UpstreamTls};
use crate::verify::Verifier;
use crate::workers::Workers;

/// More than any request tries: how often one is sent again is decided for each.
const ATTEMPTS: usize = 16;
/// Jobs on the disk at once. With syncs, sixteen threads reach most of what a disk gives.
const DISK_JOBS: usize = 16;
/// Jobs that wait for the disk before more are turned away.
const DISK_QUEUE: usize = 1024;
/// A file of roots that holds none.
const NO_ROOTS: &str = "/dev/null";

/// What others make, and a mount's way needs.
struct Parts {
    ask: Arc<Ask>,
    exchange: Arc<Exchange>,
    discovery: Option<Arc<Discovery>>,
    notifier: Arc<Notifier>,
}

/// Joins the parts of the request's way.
pub(super) fn proxy(
    config: &Config,
    tls: &Arc<UpstreamTls>,
    ask: &Arc<Ask>,
    drain: &Arc<Drain>,
    notifier: &Arc<Notifier>,
    metrics: &Arc<Metrics>,
) -> Result<RegistryProxy, StartError> {
    let upstream = &config.upstream;
    let peers = Arc::new(Peers::new(upstream, tls.clone()));
    let exchange = Arc::new(Exchange::new(
        &pingora_settings(upstream),
        peers.clone(),
        upstream.timeouts.idle,
    ));
    let discovery = discovery(&config.kind).cloned();
    let discovery = discovery.map(Discovery::new).map(Arc::new);
    let way = match &config.kind {
        Kind::Distribution(settings) => {
            let parts = Parts {
                ask: ask.clone(),
                exchange: exchange.clone(),
                discovery: discovery.clone(),
                notifier: notifier.clone(),
            };
            Way::Linking(linking(settings, upstream, parts, metrics.clone())?)
        }
        Kind::Pulp(settings) => {
            let asker = Asker::new(exchange.clone(), upstream, metrics.clone());
            let (discovery, budget) = (discovery.clone(), settings.time_budget);
            let pull_through = settings
                .artifacts
                .as_ref()
                .map(|it| it.pull_through.clone());
            let pull_through = pull_through.unwrap_or_default();
            let parts = (Claims::Read, pull_through);
            let suggesting = suggesting(discovery, parts, &asker, budget, metrics)?;
            let relay = settings.artifacts.as_ref();
            let relay = relay.map(|artifacts| Relay::new(asker, artifacts).map(Arc::new));
            let (native, relay) = (Native::Pulp, relay.transpose()?);
            let (exchange, metrics) = (exchange.clone(), metrics.clone());
            Way::Mending(Mending::new(native, exchange, relay, suggesting, metrics))
        }
        Kind::Generic(settings) => {
            let asker = Asker::new(exchange.clone(), upstream, metrics.clone());
            let (discovery, budget) = (discovery.clone(), settings.time_budget);
            let parts = (Claims::Ignored, Vec::new());
            let suggesting = suggesting(discovery, parts, &asker, budget, metrics)?;
            let native = Native::Generic(Box::new(Generic::new(settings)?));
            let (exchange, metrics) = (exchange.clone(), metrics.clone());
            Way::Mending(Mending::new(native, exchange, None, suggesting, metrics))
        }
    };
    let tokens = match &config.token_endpoint {
        Some(settings) => Some(token_endpoint(settings, discovery, exchange, metrics)?),
        None => None,
    };
    Ok(RegistryProxy::new(
        upstream,
        Forwarding::new(config),
        peers,
        way,
        tokens,
        drain.clone(),
        metrics.clone(),
    ))
}

fn discovery(kind: &Kind) -> Option<&config::Discovery> {
    match kind {
        Kind::Distribution(settings) => settings.discovery.as_ref(),
        Kind::Pulp(settings) => settings.discovery.as_ref(),
        Kind::Generic(settings) => settings.discovery.as_ref(),
    }
}

/// The registry's own token endpoint.
fn token_endpoint(
    settings: &config::TokenEndpoint,
    discovery: Option<Arc<Discovery>>,
    exchange: Arc<Exchange>,
    metrics: &Arc<Metrics>,
) -> Result<TokenEndpoint, StartError> {
    let path = &settings.path;
    let answers = settings.remembered_for;
    let answers = answers
        .map(|time| TokenAnswers::new(path, time))
        .transpose()?;
    let widening = discovery.filter(|_| settings.widens_scopes);
    let widening = widening.map(|discovery| Widening::new(path, discovery));
    let widening = widening.transpose()?;
    Ok(TokenEndpoint::new(
        answers,
        widening,
        exchange,
        metrics.clone(),
    ))
}

/// Suggestions in front of a registry that mounts itself.
fn suggesting(
    discovery: Option<Arc<Discovery>>,
    (claims, pull_through): (Claims, Vec<RepositoryName>),
    asker: &Asker,
    time_budget: Duration,
    metrics: &Arc<Metrics>,
) -> Result<Option<Suggesting>, StartError> {
    let Some(discovery) = discovery else {
        return Ok(None);
    };
    let (used, asker) = (Used::new(claims)?, asker.clone());
    Ok(Some(Suggesting::new(
        discovery,
        used,
        asker,
        time_budget,
        pull_through,
        metrics.clone(),
    )))
}

/// Links in distribution's store.
fn linking(
    settings: &Distribution,
    upstream: &Upstream,
    parts: Parts,
    metrics: Arc<Metrics>,
) -> Result<Linking, StartError> {
    let Parts {
        ask,
        exchange,
        discovery,
        notifier,
    } = parts;
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
    let sightings = Sightings::new(store.clone(), workers.clone(), standing.clone());
    let mounts = Mounts::new(
        access,
        store,
        workers,
        standing.clone(),
        settings.mount,
        discovery.clone(),
        metrics.clone(),
    );
    let verifier = verifier(&settings.store, &metrics).map_err(StartError::Verify)?;
    let mounts = Arc::new(mounts.vouching_by(verifier));
    let passing = Passing::new(&upstream.prefix, mounts.clone(), sightings, standing, pulse);
    let survey = match &discovery {
        Some(discovery) => {
            let store = Filesystem::new(&settings.store.root, settings.store.durability);
            let abandoned = if settings.mount.dry_run {
                Abandoned::Leave
            } else {
                Abandoned::Remove
            };
            let survey = survey(store, abandoned, discovery.clone(), metrics.clone());
            Some(survey.map_err(StartError::Survey)?)
        }
        None => None,
    };
    Ok(Linking::new(
        upstream, mounts, passing, exchange, notifier, survey, metrics,
    ))
}

/// Hashes blobs, where that is wanted.
fn verifier(store: &config::Store, metrics: &Arc<Metrics>) -> std::io::Result<Option<Verifier>> {
    let Some(settings) = store.verify else {
        return Ok(None);
    };
    let store = Filesystem::new(&store.root, store.durability);
    Verifier::start(store, settings.rate, metrics.clone()).map(Some)
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
