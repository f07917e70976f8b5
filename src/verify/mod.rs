//! Only blobs whose bytes were hashed are vouched for: `store.verify: sha256`.
//!
//! A mount asks for the [`BlobVerdict`] on a blob as it lies there. Where there is none yet, the blob
//! waits in the `queue` for a thread of its own, which hashes it (`examine`) no faster than the
//! configured `pace`, and the mount is the registry's. What was found is `known` for as long as
//! the process lives and the blob's data is the same file of the same size and time. Only mounts
//! that access was decided for come here, so that nobody else can make the disk work.

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

/// Blobs that wait to be hashed; beyond, the next mount has to ask again.
const MOST_WAITING: usize = 10_000;

/// What is known of a blob as it lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobVerdict {
    /// Its bytes are what its digest says.
    Good,
    /// They are not.
    Damaged,
    /// They were not hashed yet.
    Unknown,
    /// They were, and the file has been written to since, which the registry never does.
    Changed,
}

/// Knows which blobs are good, and finds out about others. What it has begun ends with it.
#[derive(Debug)]
pub struct BlobVerifier(Arc<SharedState>);

#[derive(Debug)]
struct SharedState {
    known: VerifyCache,
    queue: VerifyQueue,
    metrics: Arc<Metrics>,
}

impl BlobVerifier {
    /// Hashes blobs of `store`, at most `rate` bytes a second, on a thread of its own.
    pub fn start(store: Filesystem, rate: u64, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let shared = Arc::new(SharedState {
            known: VerifyCache::default(),
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

    /// What is known of a blob whose data is `data` now. Where nothing is, it is hashed soon.
    pub fn verdict(&self, digest: &Digest, data: &BlobData) -> BlobVerdict {
        let verdict = self.0.known.verdict(digest, data);
        if matches!(verdict, BlobVerdict::Unknown | BlobVerdict::Changed) {
            self.0.enqueue(digest);
        }
        verdict
    }

    /// Whether a blob was damaged when it was hashed last, without a look at the disk.
    pub fn was_damaged(&self, digest: &Digest) -> bool {
        self.0.known.is_damaged(digest)
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

/// The thread.
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
                tracing::warn!(%digest, %error, "a blob could not be read to be hashed");
            }
            let waiting = self.shared.queue.complete(&digest);
            self.shared.metrics.verify_queue_length(waiting);
        }
    }

    fn hash(&mut self, digest: &Digest) -> Result<(), UnreadableBlob> {
        let SharedState {
            known,
            queue,
            metrics,
        } = &*self.shared;
        let opened = self
            .store
            .on_open_to_read(|store| store.open_data(digest))?;
        let Some(file) = opened.flatten() else {
            // The next mount finds that it is missing.
            return Ok(());
        };
        let examined = self
            .hasher
            .hash(&file, digest, &mut |time| queue.rest(time))?;
        match examined {
            HashResult::Good(data) => {
                metrics.verified(VerifyResult::Good);
                if known.record_good(digest, data) {
                    tracing::info!(%digest, "a blob that was damaged is whole again");
                }
            }
            HashResult::Damaged(data) => {
                metrics.verified(VerifyResult::Damaged);
                known.record_damaged(digest, data);
                tracing::error!(
                    %digest,
                    bytes = data.size,
                    "a blob is damaged: its bytes are not what its digest says. It is not mounted; \
                     remove its data and push it again"
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
