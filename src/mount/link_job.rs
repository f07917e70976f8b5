//! The part of a mount that may block: locate and link, on a thread of its own.

use std::sync::Arc;

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

/// What was found or done.
#[derive(Clone, Copy)]
pub(crate) enum LinkOutcome {
    /// A store that was seen before is not there: nothing can be said about any blob.
    NoStore,
    /// A HEAD asked in a repository that does not exist, and must not make it.
    NoRepository,
    SourceMissing,
    BlobMissing,
    /// The blob is not vouched for.
    Doubted(VerifyFailure),
    WouldMount(u64),
    Linked(LinkResult, u64),
}

/// Why a blob is not vouched for.
#[derive(Clone, Copy)]
pub(crate) enum VerifyFailure {
    /// Its bytes were not hashed yet.
    Unverified,
    /// They were, and were written to since.
    Changed,
    /// They are not what the digest says.
    Damaged,
}

/// What a job needs.
pub(crate) struct LinkJob {
    pub id: RequestId,
    /// The request's own: the job runs on another thread than its task.
    pub trace: Option<Trace>,
    pub store: Arc<Filesystem>,
    /// Knows which blobs may be vouched for; `None`: all that are there.
    pub verifier: Option<Arc<BlobVerifier>>,
    pub registry_state: Arc<RegistryState>,
    pub metrics: Arc<Metrics>,
    pub grant: Grant,
    pub digest: Digest,
    pub via: Via,
    /// By which a HEAD is barred, if it is one.
    pub discovery: Option<Arc<Discovery>>,
    pub dry_run: bool,
    pub deadline: Instant,
}

impl LinkJob {
    pub fn run(&self) -> Result<LinkOutcome, StoreError> {
        let done = self.store.on_open(|store| self.run_on(store))?;
        Ok(done.unwrap_or(LinkOutcome::NoStore))
    }

    fn run_on(&self, store: &OpenStore<'_>) -> Result<LinkOutcome, StoreError> {
        let timer = self.metrics.store_timer(StoreOperation::Locate);
        if self.needs_repository() && !store.has_repository(self.grant.target())? {
            return Ok(LinkOutcome::NoRepository);
        }
        let located = store.look_up(self.grant.source(), &self.digest)?;
        drop(timer);
        let data = match located {
            Lookup::SourceMissing => return Ok(LinkOutcome::SourceMissing),
            Lookup::BlobMissing => return Ok(LinkOutcome::BlobMissing),
            Lookup::Here(data) => data,
        };
        if let Some(doubt) = self.verify_failure(&data) {
            return Ok(LinkOutcome::Doubted(doubt));
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

    /// Whether the link may not be the first thing in its repository.
    fn needs_repository(&self) -> bool {
        let discovery = self.discovery.as_ref().filter(|_| self.via == Via::Head);
        discovery.is_some_and(|it| !it.settings().new_repositories)
    }

    /// Why a blob whose data is `data` is not vouched for, if it is not.
    fn verify_failure(&self, data: &BlobData) -> Option<VerifyFailure> {
        match self.verifier.as_ref()?.verdict(&self.digest, data) {
            BlobVerdict::Good => None,
            BlobVerdict::Damaged => Some(VerifyFailure::Damaged),
            BlobVerdict::Unknown => Some(VerifyFailure::Unverified),
            BlobVerdict::Changed => Some(VerifyFailure::Changed),
        }
    }

    /// What was hashed must still lie there when the link is in place.
    fn recheck_blob(
        &self,
        store: &OpenStore<'_>,
        linked: LinkResult,
        before: &BlobData,
    ) -> Result<Option<LinkOutcome>, StoreError> {
        let is_vouched_for = matches!(linked, LinkResult::Written | LinkResult::AlreadyLinked);
        if self.verifier.is_none() || !is_vouched_for {
            return Ok(None);
        }
        Ok(match store.data(&self.digest)? {
            None => Some(LinkOutcome::BlobMissing),
            Some(now) if now == *before => None,
            Some(now) => self.verify_failure(&now).map(LinkOutcome::Doubted),
        })
    }

    /// Whether somebody has deleted meanwhile what a HEAD would bring back.
    fn is_tombstoned(&self) -> bool {
        let discovery = self.discovery.as_ref().filter(|_| self.via == Via::Head);
        discovery.is_some_and(|it| {
            it.is_tombstoned(&BlobRef {
                repository: self.grant.target().clone(),
                digest: self.digest.clone(),
            })
        })
    }

    /// The registry's own log does not see these links.
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
            "linked"
        );
    }
}
