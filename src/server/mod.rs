//! `crossmount serve`: everything that can fail is tried before the first request is accepted.
//!
//! | file | what |
//! |---|---|
//! | this one | the start: checks, listeners, and what runs beside them |
//! | `build` | builds the proxy from the configuration |
//! | `listener`, `worker_runtimes` | accept connections, and spread them over threads |
//! | `tls` | terminates TLS |
//! | `header_timeout`, `absolute_target` | limit the time of a request's head |
//! | `write_coalescing` | sends a response's head with its body |
//! | `stream_delegation` | what both wrappers of a connection have in common |
//! | `http2` | limits of HTTP/2 |
//! | `signals`, `drain` | end the process |
//! | `config_reload` | reloads the configuration file |
//! | `rlimit` | raises the limit of open files |
//!
//! What happens to a request is not here but in [`crate::proxy`].

mod absolute_target;
mod build;
mod config_reload;
pub(crate) mod drain;
pub(crate) mod header_timeout;
pub(crate) mod http2;
mod listener;
pub mod rlimit;
mod signals;
mod stream_delegation;
pub(crate) mod tls;
mod worker_runtimes;
mod write_coalescing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pingora::proxy::http_proxy;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing_appender::non_blocking::ErrorCounter;

pub use config_reload::{LoadConfig, ReloadSource};

use crate::admin::{AdminService, Drained, Health, StatusSource};
use crate::auth::AccessError;
use crate::blob_copy::ArtifactStoreError;
use crate::config::{AccessMode, AccessName, Config, DistributionVersion, RegistryKind};
use crate::discovery::redis::{RedisSetupError, SharedIndex};
use crate::notifications::{EndpointError, Notifier};
use crate::proxy::RegistryProxy;
use crate::server::build::SharedParts;
use crate::server::config_reload::ConfigReloader;
use crate::server::drain::Drain;
use crate::server::listener::{BoundListener, ListenError};
use crate::server::signals::Signals;
use crate::server::tls::{ListenerTls, TlsError};
use crate::server::worker_runtimes::WorkerRuntimes;
use crate::store::bucket::BucketOpenError;
use crate::store::{StorePermissionError, check_owner};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{
    ApiProbe, ApiProbeResult, UpstreamClient, UpstreamTls, UpstreamTlsError, version_mismatch,
};
use crate::util::NoRandomness;
use crate::util::blocking_pool::BlockingPool;
use crate::util::file_watch::WatchedFileError;

/// The interval of API probes at the start, until the registry responds.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long the start waits for the store, so that a wrong one is reported at once.
const STORE_ANSWERS: Duration = Duration::from_secs(5);

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StorePermissionError),
    /// A port cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// TLS cannot be terminated.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No TLS connection to the registry can be made.
    #[error(transparent)]
    UpstreamTls(#[from] UpstreamTlsError),
    /// The rules of access cannot be loaded.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Pulp's artifacts cannot be read.
    #[error(transparent)]
    Artifacts(#[from] ArtifactStoreError),
    /// No client for the registry's object store.
    #[error(transparent)]
    Bucket(#[from] BucketOpenError),
    /// No thread for the scan of the store.
    #[error("cannot start the thread that scans the store: {0}")]
    Scan(std::io::Error),
    /// No thread for the hashing of blobs.
    #[error("cannot start the thread that hashes blobs: {0}")]
    Verify(std::io::Error),
    /// No client for a webhook endpoint.
    #[error(transparent)]
    Notifications(#[from] EndpointError),
    /// What replicas share cannot be reached with this configuration.
    #[error(transparent)]
    Redis(#[from] RedisSetupError),
    /// No random key for fingerprints.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Two metrics have the same name.
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The configuration file cannot be read again.
    #[error("{0}")]
    Configuration(WatchedFileError),
    /// Signal handlers cannot be installed.
    #[error("cannot handle signals: {0}")]
    Signals(std::io::Error),
    /// No threads for requests.
    #[error("cannot start the threads that serve requests: {0}")]
    Threads(std::io::Error),
    /// A port is no longer served.
    #[error("a listener stopped: its reason is in the log lines before")]
    ListenerEnded,
}

/// The result of everything that can fail.
struct Started {
    registry_port: BoundListener,
    admin_port: BoundListener,
    tls: Option<Arc<ListenerTls>>,
    upstream_tls: Arc<UpstreamTls>,
    client: Arc<UpstreamClient>,
    proxy: RegistryProxy,
    drain: Arc<Drain>,
    notifier: Arc<Notifier>,
    metrics: Arc<Metrics>,
    signals: Signals,
}

/// Serves until a signal ends the process; after an error nothing is left half-started.
///
/// `reload` says where the configuration comes from, and `dropped` counts dropped log lines.
pub async fn run(
    config: Config,
    reload: ReloadSource,
    dropped: ErrorCounter,
) -> Result<(), StartError> {
    let started = start(&config, dropped).await?;
    tokio::spawn(ConfigReloader::begin(reload, &config)?.run());
    if let Some(tls) = &started.tls {
        tokio::spawn(tls.clone().reload_periodically());
    }
    tokio::spawn(started.upstream_tls.reload_periodically());
    for warning in &config.warnings {
        tracing::warn!(hint = warning, "configuration warning");
    }
    let store = match &config.kind {
        RegistryKind::Distribution(settings) => {
            let is_open = matches!(settings.access.mode, AccessMode::None);
            let is_by_version = matches!(settings.access.mode, AccessMode::Token(_))
                || !settings.endpoints.is_empty();
            if is_open || is_by_version {
                let client = started.client.clone();
                let version = Some(settings.version);
                tokio::spawn(check_registry(client, is_open, version));
            }
            Some(settings.store.root.clone())
        }
        RegistryKind::RegistryWriter(settings) => {
            if settings.access == AccessName::None {
                tokio::spawn(check_registry(started.client.clone(), true, None));
            }
            None
        }
        RegistryKind::Pulp(_) | RegistryKind::Generic(_) => None,
    };
    let drain = started.drain;
    let settings = build::pingora_settings(&config.upstream);
    let workers = WorkerRuntimes::start().map_err(StartError::Threads)?;
    let proxies = workers.each(|| {
        let mut proxy = http_proxy(&settings, started.proxy.clone());
        http2::allow_http2(&mut proxy, config.listen.http2());
        Arc::new(proxy)
    });
    let health = Arc::new(Health::new(started.client, store, drain.clone()));
    let status = StatusSource::new(&config, started.metrics.clone(), health.clone());
    let status = Arc::new(status);
    tokio::spawn({
        let status = status.clone();
        async move { status.sample_periodically().await }
    });
    let drained = Drained::new(drain.clone(), config.shutdown);
    let admin = AdminService::new(started.metrics, health, status, drained);
    let admin = Arc::new(admin);
    log_listening("registry", &started.registry_port);
    log_listening("admin", &started.admin_port);
    let (stop, stopped) = watch::channel(false);
    let within = config.listen.header_timeout;
    let mut registry = tokio::spawn({
        let (port, tls, closing) = (started.registry_port, started.tls, drain.closing());
        async move { listener::serve(port, tls, within, proxies, stopped, &closing).await }
    });
    tokio::spawn({
        let drain = drain.clone();
        async move { drain.close_again_and_again().await }
    });
    // The admin port shows the drain, so it is served until the process ends.
    let (_keep_admin, never) = watch::channel(false);
    let admin = vec![(Handle::current(), admin)];
    let admin = tokio::spawn(async move {
        let (port, closing) = (started.admin_port, never.clone());
        listener::serve(port, None, within, admin, never, &closing).await;
    });
    tokio::select! {
        () = signals::drain_and_stop(started.signals, &drain, &started.notifier, config.shutdown, stop) => {
            signals::wait_for_connections(&mut registry).await;
            Ok(())
        }
        () = signals::listener_failed(&mut registry, &drain) => Err(StartError::ListenerEnded),
        _ = admin => Err(StartError::ListenerEnded),
    }
}

/// Tries all that can fail. Ports come last, so that no client connects in vain.
async fn start(config: &Config, dropped: ErrorCounter) -> Result<Started, StartError> {
    let signals = Signals::catch().map_err(StartError::Signals)?;
    rlimit::raise_open_files();
    if let RegistryKind::Distribution(settings) = &config.kind {
        check_store(settings.store.root.clone()).await?;
    }
    let metrics = Arc::new(Metrics::new(Some(dropped))?);
    let tls = config.listen.tls.as_ref();
    let tls = tls.map(|files| {
        ListenerTls::load(files, config.listen.http2(), metrics.clone()).map(Arc::new)
    });
    let tls = tls.transpose()?;
    let upstream_tls = Arc::new(UpstreamTls::load(&config.upstream, &metrics)?);
    let client = UpstreamClient::new(&config.upstream, upstream_tls.clone(), metrics.clone());
    let client = Arc::new(client);
    let drain = Arc::new(Drain::new(metrics.in_flight().clone()));
    let (endpoints, version) = match &config.kind {
        RegistryKind::Distribution(settings) => (&*settings.endpoints, settings.version),
        RegistryKind::RegistryWriter(_) | RegistryKind::Pulp(_) | RegistryKind::Generic(_) => {
            (&[][..], DistributionVersion::Two)
        }
    };
    let listen = config.listen.address.to_string();
    let notifier = Arc::new(Notifier::start(endpoints, version, &listen, &metrics)?);
    let redis = config.kind.discovery().and_then(|it| it.redis.as_ref());
    let shared_index = match redis {
        Some(settings) => Some(SharedIndex::start(settings, metrics.clone()).await?),
        None => None,
    };
    let shared = SharedParts {
        tls: &upstream_tls,
        client: &client,
        drain: &drain,
        notifier: &notifier,
        metrics: &metrics,
        shared_index,
    };
    let proxy = build::proxy(config, &shared)?;
    Ok(Started {
        notifier,
        registry_port: listener::bind("listen.address", &config.listen.address)?,
        admin_port: listener::bind("admin.address", &config.admin.address)?,
        tls,
        upstream_tls,
        client,
        proxy,
        drain,
        metrics,
        signals,
    })
}

/// Checks the store. One that does not respond is no error: pushes and pulls must still reach the
/// registry, and nothing is linked before the store is verified.
async fn check_store(root: PathBuf) -> Result<(), StorePermissionError> {
    let checked = BlockingPool::new(1, 0)
        .run(Instant::now() + STORE_ANSWERS, move || check_owner(&root))
        .await;
    checked.unwrap_or_else(|_| {
        tracing::warn!("store not responding");
        Ok(())
    })
}

fn log_listening(port: &str, bound: &BoundListener) {
    tracing::info!(listener = port, address = %bound.address, "listening");
}

/// Warns if the configuration contradicts the registry, once the registry responds.
async fn check_registry(
    client: Arc<UpstreamClient>,
    is_open: bool,
    version: Option<DistributionVersion>,
) {
    loop {
        let ApiProbe {
            answer,
            version: shown,
        } = client.probe_api(Instant::now() + ASK_AGAIN).await;
        if let ApiProbeResult::Unreachable(_) = answer {
            tokio::time::sleep(ASK_AGAIN).await;
            continue;
        }
        if is_open && answer == ApiProbeResult::Challenge {
            tracing::error!(
                mode = "none",
                hint = "set access.mode to upstream",
                "access mode contradicted by the registry"
            );
        }
        if let Some(mismatch) = version.and_then(|it| version_mismatch(it, shown)) {
            tracing::warn!(hint = mismatch, "upstream version mismatch");
        }
        return;
    }
}
