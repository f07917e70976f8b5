//! The part of a mount that blocks, on a thread of the pool: look up, verify and link.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::auth::Grant;
use crate::discovery::Discovery;
use crate::oci::{BlobRef, Digest};
use crate::store::{BlobData, Filesystem, LinkResult, Lookup, OpenStore, StoreError};
use crate::telemetry::labels::StoreOperation;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::outcome::Via;
use crate::telemetry::request_id::RequestId;
use crate::telemetry::trace::Trace;
use crate::upstream::RegistryState;
use crate::verify::{BlobVerdict, BlobVerifier};

/// How a job ended, short of an error of the store.
#[derive(Clone, Copy)]
pub(crate) enum LinkOutcome {
    /// A store that existed before does not now: nothing is known about any blob.
    NoStore,
    /// The target of a HEAD's mount does not exist, and a HEAD must not create it.
    NoRepository,
    /// The layer of a HEAD was deleted from the target a short time ago.
    Deleted,
    SourceMissing,
    BlobMissing,
    /// The blob is not confirmed.
    NotVerified(VerifyFailure),
    WouldMount(u64),
    Linked(LinkResult, u64),
}

/// Why a blob is not confirmed.
#[derive(Clone, Copy)]
pub(crate) enum VerifyFailure {
    /// Its bytes were not hashed yet.
    Unverified,
    /// They were hashed, and written to since.
    Changed,
    /// They do not match the digest.
    Damaged,
}

/// Everything that a job needs, so that it can run on another thread.
pub(crate) struct LinkJob {
    pub id: RequestId,
    /// Of the request: the job runs on another thread than the request's task.
    pub trace: Option<Trace>,
    pub store: Arc<Filesystem>,
    /// Says which blobs are verified; `None` if every blob with data may be linked.
    pub verifier: Option<Arc<BlobVerifier>>,
    pub registry_state: Arc<RegistryState>,
    pub metrics: Arc<Metrics>,
    pub grant: Grant,
    pub digest: Digest,
    pub via: Via,
    /// Holds the tombstones that a HEAD's mount must respect.
    pub discovery: Option<Arc<Discovery>>,
    pub dry_run: bool,
    pub deadline: Instant,
}

impl LinkJob {
    pub(crate) fn run(&self) -> Result<LinkOutcome, StoreError> {
        let done = self.store.on_open(|store| self.run_on(store))?;
        Ok(done.unwrap_or(LinkOutcome::NoStore))
    }

    fn run_on(&self, store: &OpenStore<'_>) -> Result<LinkOutcome, StoreError> {
        let timer = self.metrics.store_timer(StoreOperation::Locate);
        if self.needs_repository() && !store.has_repository(self.grant.target())? {
            return Ok(LinkOutcome::NoRepository);
        }
        if self.was_deleted(store)? {
            return Ok(LinkOutcome::Deleted);
        }
        let located = store.look_up(self.grant.source(), &self.digest)?;
        drop(timer);
        let data = match located {
            Lookup::SourceMissing => return Ok(LinkOutcome::SourceMissing),
            Lookup::BlobMissing => return Ok(LinkOutcome::BlobMissing),
            Lookup::Here(data) => data,
        };
        if let Some(failure) = self.verify_failure(&data) {
            return Ok(LinkOutcome::NotVerified(failure));
        }
        let size = data.size;
        if self.dry_run {
            return Ok(LinkOutcome::WouldMount(size));
        }
        let _timer = self.metrics.store_timer(StoreOperation::Link);
        let still_allowed = || {
            Instant::now() < self.deadline
                && self.registry_state.is_writable()
                && !self.is_tombstoned()
                && self.grant.is_valid(&self.registry_state)
        };
        let linked = store.link(&self.grant, &self.digest, &still_allowed)?;
        if linked == LinkResult::Written {
            self.audit(size);
        }
        if let Some(done) = self.recheck_blob(store, linked, &data)? {
            return Ok(done);
        }
        Ok(LinkOutcome::Linked(linked, size))
    }

    /// Whether the target must exist already: the operator allows a HEAD no new repositories.
    fn needs_repository(&self) -> bool {
        let discovery = self.discovery.as_ref().filter(|_| self.via.is_head());
        discovery.is_some_and(|it| !it.settings().new_repositories)
    }

    /// Whether the store shows that the layer of a HEAD was deleted from the target.
    fn was_deleted(&self, store: &OpenStore<'_>) -> Result<bool, StoreError> {
        let discovery = self.discovery.as_ref().filter(|_| self.via.is_head());
        let since =
            discovery.and_then(|it| SystemTime::now().checked_sub(it.settings().deleted_for));
        since.map_or(Ok(false), |since| {
            store.was_deleted_since(self.grant.target(), &self.digest, since)
        })
    }

    /// Why the blob with this data is not confirmed, if it is not.
    fn verify_failure(&self, data: &BlobData) -> Option<VerifyFailure> {
        match self.verifier.as_ref()?.verdict(&self.digest, data) {
            BlobVerdict::Good => None,
            BlobVerdict::Damaged => Some(VerifyFailure::Damaged),
            BlobVerdict::Unknown => Some(VerifyFailure::Unverified),
            BlobVerdict::Changed => Some(VerifyFailure::Changed),
        }
    }

    /// Checks again, with the link in place, that the data is what was hashed.
    fn recheck_blob(
        &self,
        store: &OpenStore<'_>,
        linked: LinkResult,
        before: &BlobData,
    ) -> Result<Option<LinkOutcome>, StoreError> {
        let is_confirmed = matches!(linked, LinkResult::Written | LinkResult::AlreadyLinked);
        if self.verifier.is_none() || !is_confirmed {
            return Ok(None);
        }
        Ok(match store.data(&self.digest)? {
            None => Some(LinkOutcome::BlobMissing),
            Some(now) if now == *before => None,
            Some(now) => self.verify_failure(&now).map(LinkOutcome::NotVerified),
        })
    }

    /// Whether a client has meanwhile deleted the layer that a HEAD would bring back.
    fn is_tombstoned(&self) -> bool {
        let discovery = self.discovery.as_ref().filter(|_| self.via.is_head());
        discovery.is_some_and(|it| {
            it.is_tombstoned(&BlobRef {
                repository: self.grant.target().clone(),
                digest: self.digest.clone(),
            })
        })
    }

    /// The audit line of a new link: the registry's own log does not show it.
    fn audit(&self, size: u64) {
        tracing::info!(
            request_id = self.id.as_str(),
            trace_id = self.trace.as_ref().map(Trace::id),
            user = self.grant.user(),
            target = %self.grant.target(),
            source = %self.grant.source(),
            digest = %self.digest,
            bytes = size,
            proof = self.grant.basis().proof().as_ref(),
            via = self.via.as_ref(),
            "layer link written"
        );
    }
}
