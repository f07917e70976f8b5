//! The search on the disk for a layer, on a thread of the pool.

use std::sync::Arc;

use tokio::time::Instant;

use crate::discovery::{Discovery, StoreSearch};
use crate::mount::Mounts;
use crate::oci::RepositoryName;
use crate::telemetry::labels::StoreOperation;

impl Mounts {
    /// Looks in the store for other repositories that hold a layer and that the caller may likely
    /// pull. Where that fails there are none: the search is only a suggestion too.
    pub(super) async fn search_store(
        &self,
        discovery: &Arc<Discovery>,
        search: StoreSearch,
        deadline: Instant,
    ) -> Vec<RepositoryName> {
        if !search.is_worthwhile(discovery) {
            return Vec::new();
        }
        let (store, discovery) = (self.store.clone(), discovery.clone());
        let metrics = self.metrics.clone();
        let job = move || {
            let _timer = metrics.store_timer(StoreOperation::Search);
            store.on_open(|store| search.run(&discovery, store))
        };
        match self.workers.run(deadline, job).await {
            Ok(Ok(Some(outcome))) => {
                self.metrics.store_searched(outcome.result);
                outcome.found
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "store search failed");
                Vec::new()
            }
            Ok(Ok(None)) | Err(_) => Vec::new(),
        }
    }
}
