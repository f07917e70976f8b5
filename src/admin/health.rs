//! Liveness and readiness.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::server::drain::Drain;
use crate::store::check_owner;
use crate::upstream::{ApiProbeResult, UpstreamClient};
use crate::util::blocking_pool::BlockingPool;

/// How long a readiness check may take: less than a kubelet's default timeout.
const LIMIT: Duration = Duration::from_millis(900);

/// Checks the readiness of the process.
#[derive(Debug)]
pub(crate) struct Health {
    ask: Arc<UpstreamClient>,
    /// A thread of its own: mounts that queue for the disk do not make the process unready.
    worker: BlockingPool,
    /// The store's root, if crossmount writes links.
    root: Option<PathBuf>,
    drain: Arc<Drain>,
}

/// What the checks found.
#[derive(Debug, Clone)]
pub(crate) struct HealthReport {
    pub is_draining: bool,
    pub registry: Result<(), String>,
    /// `None` if crossmount uses no store.
    pub store: Option<StoreHealth>,
}

/// What the check of the store found.
#[derive(Debug, Clone)]
pub(crate) struct StoreHealth {
    pub usable: Result<(), String>,
    /// Whether a link that the registry wrote was seen in it: before that crossmount writes none.
    pub is_verified: bool,
}

impl HealthReport {
    /// `Ok` if the process is ready, else the reason.
    pub(crate) fn ready(self) -> Result<(), String> {
        if self.is_draining {
            return Err("draining: the process is about to end".to_owned());
        }
        self.registry?;
        self.store.map_or(Ok(()), |store| store.usable)
    }
}

impl Health {
    /// Ready means that the registry responds, no drain has begun, and the store at `root` is
    /// usable if there is one.
    pub(crate) fn new(ask: Arc<UpstreamClient>, root: Option<PathBuf>, drain: Arc<Drain>) -> Self {
        Self {
            ask,
            worker: BlockingPool::new(1, 1024),
            root,
            drain,
        }
    }

    /// `Ok` if the process is ready, else the reason.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        self.report().await.ready()
    }

    /// Checks registry and store at the same time.
    pub(crate) async fn report(&self) -> HealthReport {
        let deadline = Instant::now() + LIMIT;
        let (registry, store) = tokio::join!(self.registry(deadline), self.store(deadline));
        HealthReport {
            is_draining: self.drain.is_draining(),
            registry,
            store,
        }
    }

    async fn registry(&self, deadline: Instant) -> Result<(), String> {
        match self.ask.probe_api(deadline).await.answer {
            ApiProbeResult::Open | ApiProbeResult::Challenge => Ok(()),
            ApiProbeResult::Strange(status) => {
                Err(format!("the registry answers {status} at its base"))
            }
            ApiProbeResult::Unreachable(reason) => {
                Err(format!("the registry cannot be reached: {reason}"))
            }
        }
    }

    async fn store(&self, deadline: Instant) -> Option<StoreHealth> {
        let root = self.root.clone()?;
        let usable = match self.worker.run(deadline, move || check_owner(&root)).await {
            Ok(checked) => checked.map_err(|fault| fault.to_string()),
            Err(_) => Err("the store does not answer".to_owned()),
        };
        Some(StoreHealth {
            usable,
            is_verified: self.ask.registry_state().is_store_verified(),
        })
    }
}
