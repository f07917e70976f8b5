//! Verifies that the store is the registry's own: links that the registry writes appear in it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::oci::BlobRef;
use crate::store::Filesystem;
use crate::upstream::{Observation, RegistryState};
use crate::util::blocking_pool::BlockingPool;

/// The clock of file timestamps is some milliseconds coarser than the system's.
const COARSE: Duration = Duration::from_millis(20);
/// How long an upload's response may wait for the check, which ends with the first success.
const LIMIT: Duration = Duration::from_millis(250);

/// Checks the store for links that the registry has just written.
#[derive(Debug)]
pub(crate) struct StoreVerification {
    store: Arc<Filesystem>,
    workers: Arc<BlockingPool>,
    registry_state: Arc<RegistryState>,
}

/// Taken at the beginning of a request that may end with a link in the registry's store.
#[derive(Debug)]
pub(crate) struct PendingVerification {
    observation: Observation,
    time: SystemTime,
}

impl StoreVerification {
    pub(crate) fn new(
        store: Arc<Filesystem>,
        workers: Arc<BlockingPool>,
        registry_state: Arc<RegistryState>,
    ) -> Self {
        Self {
            store,
            workers,
            registry_state,
        }
    }

    /// Notes the beginning of an upload; `None` once the store is verified.
    pub(crate) fn begin(&self) -> Option<PendingVerification> {
        if self.registry_state.is_store_verified() {
            return None;
        }
        Some(PendingVerification {
            observation: self.registry_state.observe(),
            time: SystemTime::now() - COARSE,
        })
    }

    /// Checks that a link the registry reports as written is in the store.
    pub(crate) async fn check_link(&self, blob: &BlobRef, since: &PendingVerification) {
        let (store, blob) = (self.store.clone(), blob.clone());
        let time = since.time;
        let look = move || {
            store
                .on_open(|store| store.is_linked_since(&blob.repository, &blob.digest, time))
                .map(Option::unwrap_or_default)
        };
        match self.workers.run_if_idle(LIMIT, look).await {
            Ok(Ok(true)) => {
                if self.registry_state.record_own_link(&since.observation) {
                    tracing::info!("store verified");
                }
            }
            Ok(Ok(false)) => tracing::warn!(
                hint =
                    "compare store.filesystem.rootdirectory with the registry's, and both clocks",
                "store not verified: the registry's new link not found"
            ),
            Ok(Err(error)) => tracing::warn!(%error, "store verification failed"),
            Err(error) => tracing::warn!(?error, "store verification not finished"),
        }
    }
}
