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
        if self.drain.is_draining() {
            return Err("draining: the process is about to end".to_owned());
        }
        let deadline = Instant::now() + LIMIT;
        match self.ask.probe_api(deadline).await.answer {
            ApiProbeResult::Open | ApiProbeResult::Challenge => {}
            ApiProbeResult::Strange(status) => {
                return Err(format!("the registry answers {status} at its base"));
            }
            ApiProbeResult::Unreachable(reason) => {
                return Err(format!("the registry cannot be reached: {reason}"));
            }
        }
        let Some(root) = self.root.clone() else {
            return Ok(());
        };
        match self.worker.run(deadline, move || check_owner(&root)).await {
            Ok(checked) => checked.map_err(|fault| fault.to_string()),
            Err(_) => Err("the store does not answer".to_owned()),
        }
    }
}
