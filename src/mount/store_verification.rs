//! The proof that our store is the registry's: its own new links appear in it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::oci::BlobRef;
use crate::store::Filesystem;
use crate::upstream::{Observation, RegistryState};
use crate::util::blocking_pool::BlockingPool;

/// Files are stamped by a clock that is some milliseconds coarser than the one we read.
const COARSE: Duration = Duration::from_millis(20);
/// How long an upload's answer may wait for the look; it happens once, until it succeeds.
const LIMIT: Duration = Duration::from_millis(250);

/// Looks for links that the registry has just written.
#[derive(Debug)]
pub struct StoreVerification {
    store: Arc<Filesystem>,
    workers: Arc<BlockingPool>,
    registry_state: Arc<RegistryState>,
}

/// The beginning of a request that may end with a link in the registry's store.
#[derive(Debug)]
pub struct PendingVerification {
    observation: Observation,
    time: SystemTime,
}

impl StoreVerification {
    /// Looks in `store`, and tells `registry_state`.
    pub fn new(
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

    /// Notes the beginning of an upload, where a link is still to be seen.
    pub fn begin(&self) -> Option<PendingVerification> {
        if self.registry_state.is_store_verified() {
            return None;
        }
        Some(PendingVerification {
            observation: self.registry_state.observe(),
            time: SystemTime::now() - COARSE,
        })
    }

    /// The registry says that it has linked a blob into a repository: is the link here?
    pub async fn check_link(&self, blob: &BlobRef, since: &PendingVerification) {
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
                    tracing::info!("a link of the registry's own was seen in the store");
                }
            }
            Ok(Ok(false)) => tracing::warn!(
                "the registry's new link is not in the store, or older than the upload: \
                 mounts go upstream; is store.filesystem.rootdirectory the registry's, and do the clocks agree?"
            ),
            Ok(Err(error)) => tracing::warn!(%error, "the store could not be looked at"),
            Err(unfinished) => tracing::warn!(?unfinished, "the store was not looked at in time"),
        }
    }
}
