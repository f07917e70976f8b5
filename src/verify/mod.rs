//! Verifies blobs by their hash before crossmount confirms a mount: `store.verify: sha256`.
//!
//! A mount gets the [`BlobVerdict`] on the data as it is now. If there is none yet, the mount is
//! forwarded, and the blob joins the `queue` of a thread of its own. The `hasher` reads it no
//! faster than the `rate_limit`. `results` holds a verdict for as long as the process lives and the
//! data is the same file of the same size and time. Only mounts that were granted come here, so
//! that no other client can cause reads of the disk.

mod hasher;
mod queue;
mod rate_limit;
mod results;

use std::sync::Arc;
use std::time::Instant;

use crate::oci::Digest;
use crate::store::{BlobData, Filesystem, StoreError};
use crate::telemetry::labels::VerifyResult;
use crate::telemetry::metrics::Metrics;
use crate::verify::hasher::{HashResult, Hasher};
use crate::verify::queue::{Pushed, VerifyQueue};
use crate::verify::rate_limit::RateLimiter;
use crate::verify::results::VerifyCache;

/// The queue length; beyond it, a later mount must queue the blob.
const MOST_WAITING: usize = 10_000;

/// Whether a blob's data, as it is now, has its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlobVerdict {
    /// Its bytes have the digest.
    Good,
    /// They do not.
    Damaged,
    /// They were not hashed yet.
    Unknown,
    /// They were hashed, and the file changed since, which the registry never does.
    Changed,
}

/// Holds the verdicts, and has blobs hashed; its thread ends with it.
#[derive(Debug)]
pub(crate) struct BlobVerifier(Arc<SharedState>);

#[derive(Debug)]
struct SharedState {
    results: VerifyCache,
    queue: VerifyQueue,
    metrics: Arc<Metrics>,
}

impl BlobVerifier {
    /// Hashes blobs of `store`, at most `rate` bytes a second, on a thread of its own.
    pub(crate) fn start(
        store: Filesystem,
        rate: u64,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(SharedState {
            results: VerifyCache::default(),
            queue: VerifyQueue::new(MOST_WAITING),
            metrics,
        });
        let hashing = Hashing {
            store,
            hasher: Hasher::new(RateLimiter::new(rate, Instant::now())),
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new().name("verify".to_owned());
        thread.spawn(move || hashing.run())?;
        Ok(Self(shared))
    }

    /// The verdict on a blob whose data is `data` now. If there is none, the blob is queued.
    pub(crate) fn verdict(&self, digest: &Digest, data: &BlobData) -> BlobVerdict {
        let verdict = self.0.results.verdict(digest, data);
        if matches!(verdict, BlobVerdict::Unknown | BlobVerdict::Changed) {
            self.0.enqueue(digest);
        }
        verdict
    }

    /// Whether a blob was damaged when it was last hashed, without a look at the disk.
    pub(crate) fn was_damaged(&self, digest: &Digest) -> bool {
        self.0.results.is_damaged(digest)
    }
}

impl Drop for BlobVerifier {
    fn drop(&mut self) {
        self.0.queue.end();
    }
}

impl SharedState {
    fn enqueue(&self, digest: &Digest) {
        match self.queue.push(digest) {
            Pushed::Waits(waiting) => self.metrics.verify_queue_length(waiting),
            Pushed::Already => {}
            Pushed::Full => self.metrics.verified(VerifyResult::Dropped),
        }
    }
}

/// The thread that hashes.
struct Hashing {
    store: Filesystem,
    hasher: Hasher,
    shared: Arc<SharedState>,
}

impl Hashing {
    fn run(mut self) {
        while let Some(digest) = self.shared.queue.next() {
            if let Err(error) = self.hash(&digest) {
                self.shared.metrics.verified(VerifyResult::Unreadable);
                tracing::warn!(%digest, %error, "blob read failed");
            }
            let waiting = self.shared.queue.complete(&digest);
            self.shared.metrics.verify_queue_length(waiting);
        }
    }

    fn hash(&mut self, digest: &Digest) -> Result<(), UnreadableBlob> {
        let SharedState {
            results,
            queue,
            metrics,
        } = &*self.shared;
        let opened = self
            .store
            .on_open_to_read(|store| store.open_data(digest))?;
        let Some(file) = opened.flatten() else {
            // The next mount finds it missing.
            return Ok(());
        };
        let result = self
            .hasher
            .hash(&file, digest, &mut |time| queue.rest(time))?;
        match result {
            HashResult::Good(data) => {
                metrics.verified(VerifyResult::Good);
                if results.record_good(digest, data) {
                    tracing::info!(%digest, "damaged blob replaced by an intact one");
                }
            }
            HashResult::Damaged(data) => {
                metrics.verified(VerifyResult::Damaged);
                results.record_damaged(digest, data);
                tracing::error!(
                    %digest,
                    bytes = data.size,
                    hint = "remove the blob's data file and push the blob again",
                    "blob damaged"
                );
            }
            HashResult::Changed => metrics.verified(VerifyResult::Changed),
            HashResult::Absent | HashResult::Ended => {}
        }
        Ok(())
    }
}

/// Why a blob was not hashed.
#[derive(Debug, thiserror::Error)]
enum UnreadableBlob {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] std::io::Error),
}
