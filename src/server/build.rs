//! Builds the proxy from the configuration: each part once, in the order of their dependencies.

use std::sync::Arc;
use std::time::Duration;

use pingora::server::configuration::ServerConf;

use crate::auth::{Access, ClaimsTrust, UsageHistory};
use crate::blob_copy::BlobCopier;
use crate::config::{self, Config, DistributionConfig, RegistryKind, UpstreamConfig};
use crate::discovery::{Discovery, scanner::start_scan};
use crate::mount::{Mounts, StoreVerification};
use crate::native_mount::{GenericRules, NativeMountRules};
use crate::notifications::Notifier;
use crate::oci::{Patterns, RepositoryName};
use crate::proxy::{
    ForwardedHeaders, LinkMountHandler, MountStrategy, NativeMountHandler, RegistryProxy,
    ResponseObserver, SuggestedMounts, TokenEndpointHandler,
};
use crate::server::StartError;
use crate::server::drain::Drain;
use crate::store::{Filesystem, StaleTempFiles};
use crate::telemetry::metrics::Metrics;
use crate::token_cache::{ScopeExpansion, TokenCache};
use crate::upstream::{DelegatedClient, Peers, SubrequestClient, UpstreamClient, UpstreamTls};
use crate::util::blocking_pool::BlockingPool;
use crate::verify::BlobVerifier;

/// Pingora's limit of attempts, never reached: `phases` decides each retry.
const ATTEMPTS: usize = 16;
/// Jobs on the disk in flight. With syncs, sixteen threads reach most of a disk's throughput.
const DISK_JOBS: usize = 16;
/// The queue length of jobs, beyond which more are rejected.
const DISK_QUEUE: usize = 1024;
/// A file of root certificates that holds none.
const NO_ROOTS: &str = "/dev/null";

/// Parts that other parts of the process share with the proxy.
struct ProxyParts {
    client: Arc<UpstreamClient>,
    subrequests: Arc<SubrequestClient>,
    discovery: Option<Arc<Discovery>>,
    notifier: Arc<Notifier>,
}

/// Builds the proxy.
pub(crate) fn proxy(
    config: &Config,
    tls: &Arc<UpstreamTls>,
    client: &Arc<UpstreamClient>,
    drain: &Arc<Drain>,
    notifier: &Arc<Notifier>,
    metrics: &Arc<Metrics>,
) -> Result<RegistryProxy, StartError> {
    let upstream = &config.upstream;
    let peers = Arc::new(Peers::new(upstream, tls.clone()));
    let subrequests = Arc::new(SubrequestClient::new(
        &pingora_settings(upstream),
        peers.clone(),
        upstream.timeouts.idle,
    ));
    let discovery = discovery(&config.kind).cloned();
    let discovery = discovery.map(Discovery::new).map(Arc::new);
    let strategy = match &config.kind {
        RegistryKind::Distribution(settings) => {
            let parts = ProxyParts {
                client: client.clone(),
                subrequests: subrequests.clone(),
                discovery: discovery.clone(),
                notifier: notifier.clone(),
            };
            MountStrategy::Link(link_mount_handler(settings, upstream, parts, metrics)?)
        }
        RegistryKind::Pulp(settings) => {
            let client = DelegatedClient::new(subrequests.clone(), upstream, metrics.clone());
            let (discovery, budget) = (discovery.clone(), settings.time_budget);
            let pull_through = settings
                .artifacts
                .as_ref()
                .map(|it| it.pull_through.clone());
            let pull_through = pull_through.unwrap_or_default();
            let parts = (ClaimsTrust::Read, pull_through);
            let suggestions = suggested_mounts(discovery, parts, &client, budget, metrics)?;
            let copier = settings.artifacts.as_ref();
            let copier = copier.map(|artifacts| BlobCopier::new(client, artifacts).map(Arc::new));
            let (native, copier) = (NativeMountRules::Pulp, copier.transpose()?);
            let subrequests = subrequests.clone();
            MountStrategy::Native(NativeMountHandler::new(
                native,
                subrequests,
                copier,
                suggestions,
            ))
        }
        RegistryKind::Generic(settings) => {
            let client = DelegatedClient::new(subrequests.clone(), upstream, metrics.clone());
            let (discovery, budget) = (discovery.clone(), settings.time_budget);
            let parts = (ClaimsTrust::Ignored, Vec::new());
            let suggestions = suggested_mounts(discovery, parts, &client, budget, metrics)?;
            let native = NativeMountRules::Generic(Box::new(GenericRules::new(settings)?));
            let subrequests = subrequests.clone();
            MountStrategy::Native(NativeMountHandler::new(
                native,
                subrequests,
                None,
                suggestions,
            ))
        }
    };
    let tokens = match &config.token_endpoint {
        Some(settings) => Some(token_endpoint(settings, discovery, subrequests, metrics)?),
        None => None,
    };
    Ok(RegistryProxy::new(
        upstream,
        ForwardedHeaders::new(config),
        peers,
        strategy,
        tokens,
        drain.clone(),
        metrics.clone(),
    ))
}

fn discovery(kind: &RegistryKind) -> Option<&config::DiscoveryConfig> {
    match kind {
        RegistryKind::Distribution(settings) => settings.discovery.as_ref(),
        RegistryKind::Pulp(settings) => settings.discovery.as_ref(),
        RegistryKind::Generic(settings) => settings.discovery.as_ref(),
    }
}

/// Builds the handler of the registry's own token endpoint, if the operator enabled it.
fn token_endpoint(
    settings: &config::TokenEndpointConfig,
    discovery: Option<Arc<Discovery>>,
    subrequests: Arc<SubrequestClient>,
    metrics: &Arc<Metrics>,
) -> Result<TokenEndpointHandler, StartError> {
    let path = &settings.path;
    let answers = settings.remembered_for;
    let answers = answers
        .map(|time| TokenCache::new(path, time))
        .transpose()?;
    let expansion = discovery.filter(|_| settings.widens_scopes);
    let expansion = expansion.map(|discovery| ScopeExpansion::new(path, discovery));
    let expansion = expansion.transpose()?;
    Ok(TokenEndpointHandler::new(
        answers,
        expansion,
        subrequests,
        metrics.clone(),
    ))
}

/// Builds the suggestions in front of a registry that mounts itself.
fn suggested_mounts(
    discovery: Option<Arc<Discovery>>,
    (claims, pull_through): (ClaimsTrust, Vec<RepositoryName>),
    client: &DelegatedClient,
    time_budget: Duration,
    metrics: &Arc<Metrics>,
) -> Result<Option<SuggestedMounts>, StartError> {
    let Some(discovery) = discovery else {
        return Ok(None);
    };
    let (used, client) = (UsageHistory::new(claims)?, client.clone());
    Ok(Some(SuggestedMounts::new(
        discovery,
        used,
        client,
        time_budget,
        pull_through,
        metrics.clone(),
    )))
}

/// Builds the handler that links in distribution's store.
fn link_mount_handler(
    settings: &DistributionConfig,
    upstream: &UpstreamConfig,
    parts: ProxyParts,
    metrics: &Arc<Metrics>,
) -> Result<LinkMountHandler, StartError> {
    let ProxyParts {
        client,
        subrequests,
        discovery,
        notifier,
    } = parts;
    let registry_state = client.registry_state().clone();
    let reachability = client.reachability().clone();
    let workers = Arc::new(BlockingPool::new(DISK_JOBS, DISK_QUEUE));
    let store = &settings.store;
    let store = Arc::new(Filesystem::new(&store.root, store.durability));
    let shared = settings
        .discovery
        .as_ref()
        .map(|discovery| &discovery.shared);
    let access = Access::new(
        &settings.access,
        shared.unwrap_or(&Patterns::default()),
        client,
        metrics.clone(),
    )?;
    let verification =
        StoreVerification::new(store.clone(), workers.clone(), registry_state.clone());
    let mounts = Mounts::new(
        access,
        store,
        workers,
        registry_state.clone(),
        settings.mount,
        discovery.clone(),
        metrics.clone(),
    );
    let verifier = verifier(&settings.store, metrics).map_err(StartError::Verify)?;
    let mounts = Arc::new(mounts.with_verifier(verifier));
    let observer = ResponseObserver::new(
        &upstream.prefix,
        mounts.clone(),
        verification,
        registry_state,
        reachability,
    );
    let scanner = match &discovery {
        Some(discovery) => {
            let store = Filesystem::new(&settings.store.root, settings.store.durability);
            let stale_files = if settings.mount.dry_run {
                StaleTempFiles::Leave
            } else {
                StaleTempFiles::Remove
            };
            let scanner = start_scan(store, stale_files, discovery.clone(), metrics.clone());
            Some(scanner.map_err(StartError::Scan)?)
        }
        None => None,
    };
    Ok(LinkMountHandler::new(
        upstream,
        mounts,
        observer,
        subrequests,
        notifier,
        scanner,
    ))
}

/// Builds the verification of blobs, if the operator enabled it.
fn verifier(
    store: &config::StoreConfig,
    metrics: &Arc<Metrics>,
) -> std::io::Result<Option<BlobVerifier>> {
    let Some(settings) = store.verify else {
        return Ok(None);
    };
    let store = Filesystem::new(&store.root, store.durability);
    BlobVerifier::start(store, settings.rate, metrics.clone()).map(Some)
}

/// Pingora's own settings; each request decides the rest.
pub(crate) fn pingora_settings(upstream: &UpstreamConfig) -> Arc<ServerConf> {
    let roots = match &upstream.ca_certificate {
        Some(path) => Some(path.display().to_string()),
        None if upstream.url.is_tls() => None,
        // Without TLS no root is needed. Those of the system cost memory and time, and one that
        // cannot be parsed would end the process.
        None => Some(NO_ROOTS.to_owned()),
    };
    Arc::new(ServerConf {
        max_retries: ATTEMPTS,
        ca_file: roots,
        ..ServerConf::default()
    })
}
