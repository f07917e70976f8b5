//! `crossmount serve`: everything that can fail is tried before the first request is taken.

use std::sync::Arc;
use std::time::Duration;

use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::access::Access;
use crate::config::{AccessMode, Config, Shutdown, Upstream};
use crate::http::{self, Bound, Forwarding, ListenError, Passing, RegistryProxy, TlsFault};
use crate::metrics::Metrics;
use crate::mount::{Mounts, Sightings};
use crate::ops::{Admin, Drain, Health};
use crate::store::{Filesystem, StoreFault, Workers, check_owner};
use crate::upstream::{Ask, AskError, BaseAnswer, Standing};

/// More than any request tries: how often one is sent again is decided for each.
const ATTEMPTS: usize = 16;
/// A file of roots that holds none.
const NO_ROOTS: &str = "/dev/null";
/// Between two questions at the start whether the registry has access control.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A port cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// TLS cannot be ended.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// The registry cannot be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The metrics contradict each other.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Signals cannot be caught.
    #[error("signals: {0}")]
    Signals(std::io::Error),
    /// A port is no longer served.
    #[error("a listener ended by itself")]
    ListenerEnded,
}

/// Serves until a signal ends the process.
///
/// # Errors
/// [`StartError`]; nothing is left half-started.
pub async fn run(config: Config) -> Result<(), StartError> {
    let signals = Signals::catch().map_err(StartError::Signals)?;
    check_owner(&config.store.root)?;
    let tls = config.tls.as_ref().map(http::load_tls).transpose()?;
    let metrics = Arc::new(Metrics::new()?);
    let ask = Arc::new(Ask::new(&config.upstream, metrics.clone())?);
    let registry_port = http::bind("listen.address", &config.listen).await?;
    let admin_port = http::bind("admin.address", &config.admin).await?;

    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Some((_, ends)) = &tls {
        // Seconds since 1970 are exact in a double for millions of years.
        #[allow(clippy::cast_precision_loss)]
        metrics.certificate_expiry("listener", *ends as f64);
    }
    if config.access == AccessMode::None {
        tokio::spawn(warn_of_access_control(ask.clone()));
    }
    let drain = Arc::new(Drain::new(metrics.in_flight().clone()));
    let workers = Arc::new(Workers::default());
    let health = Health::new(ask.clone(), config.store.root.clone(), drain.clone());
    let proxy = proxy(&config, &ask, workers, &drain, &metrics);
    let proxy = Arc::new(http_proxy(&pingora_settings(&config.upstream), proxy));
    let admin = Arc::new(Admin::new(metrics, health));
    let (stop, stopped) = watch::channel(false);
    announce("registry", &registry_port);
    announce("admin", &admin_port);
    let acceptor = tls.map(|(acceptor, _)| acceptor);
    let registry = http::serve(registry_port, acceptor, proxy, stopped.clone());
    let registry = tokio::spawn(registry);
    // The admin port tells of the drain, so it is served until the process ends.
    let (_keep_admin, never) = watch::channel(false);
    let admin = tokio::spawn(http::serve(admin_port, None, admin, never));
    tokio::select! {
        () = end(signals, &drain, config.shutdown, stop) => Ok(()),
        () = ended_early(registry, &drain) => Err(StartError::ListenerEnded),
        _ = admin => Err(StartError::ListenerEnded),
    }
}

/// The registry's port is no longer served, though nobody told the process to end.
async fn ended_early(listener: JoinHandle<()>, drain: &Drain) {
    let _ = listener.await;
    if drain.has_begun() {
        std::future::pending::<()>().await;
    }
}

/// Joins the parts of the request's way.
fn proxy(
    config: &Config,
    ask: &Arc<Ask>,
    workers: Arc<Workers>,
    drain: &Arc<Drain>,
    metrics: &Arc<Metrics>,
) -> RegistryProxy {
    let standing = Arc::new(Standing::default());
    let store = Arc::new(Filesystem::new(&config.store.root, config.store.durability));
    let access = Access::new(
        config.access,
        ask.clone(),
        standing.clone(),
        metrics.clone(),
    );
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
    RegistryProxy::new(
        &config.upstream,
        Forwarding::new(trusted, config.tls.is_some()),
        mounts.clone(),
        Passing::new(mounts, sightings, standing),
        drain.clone(),
        metrics.clone(),
    )
}

fn pingora_settings(upstream: &Upstream) -> Arc<ServerConf> {
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

fn announce(port: &str, bound: &Bound) {
    tracing::info!(r#for = port, address = %bound.address, "listening");
}

/// Says loudly where the configuration calls a registry open that is not.
async fn warn_of_access_control(ask: Arc<Ask>) {
    loop {
        match ask.base(Instant::now() + ASK_AGAIN).await {
            BaseAnswer::Unreachable(_) => tokio::time::sleep(ASK_AGAIN).await,
            BaseAnswer::Challenge => {
                tracing::error!(
                    "access.mode is none, but the registry has access control: set access.mode to upstream"
                );
                return;
            }
            BaseAnswer::Open | BaseAnswer::Strange(_) => return,
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for a signal and drains; a second signal ends it at once.
async fn end(mut signals: Signals, drain: &Drain, settings: Shutdown, stop: watch::Sender<bool>) {
    signals.next().await;
    let until = Instant::now() + settings.timeout;
    drain.begin();
    tracing::info!("ending: no longer ready, still serving");
    let drained = async {
        tokio::time::sleep(settings.drain_delay).await;
        stop.send_replace(true);
        let finished = tokio::time::timeout_at(until, drain.finished()).await;
        if finished.is_err() {
            let requests = drain.in_flight();
            tracing::warn!(requests, "ending with requests in flight: the time is up");
        }
    };
    tokio::select! {
        () = drained => tracing::info!("ended"),
        () = signals.next() => tracing::warn!("a second signal: ending at once"),
    }
}
