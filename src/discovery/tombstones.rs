//! Layers that a client deleted, or is deleting: no HEAD brings them back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use lru::LruCache;
use parking_lot::Mutex;

use crate::discovery::redis::SharedDeletion;
use crate::oci::{BlobRef, RepositoryName};

/// The most tombstones. Beyond that, every layer counts as deleted for as long.
const BOUND: usize = 64 * 1024;
/// The most deletions without a response: the last ones. Any client can cause them, so beyond the
/// bound the oldest are dropped, and no other client's layers count as deleted.
const UNANSWERED: usize = 16 * 1024;

type LayerKey = (RepositoryName, [u8; 32]);

/// Records deletions, each from before the registry gets the request.
#[derive(Debug)]
pub(crate) struct Tombstones {
    /// How long a tombstone counts.
    ttl: Duration,
    /// How many deletions of a layer are in flight.
    pending: DashMap<LayerKey, usize>,
    /// What the registry confirmed as deleted, and when.
    done: DashMap<LayerKey, Instant>,
    /// Every layer counts as deleted until then.
    full_until: Mutex<Option<Instant>>,
    /// What the registry may have deleted last, without a response, and when.
    unanswered: Mutex<LruCache<LayerKey, Instant>>,
}

/// A deletion in flight. If it is dropped without a response, it counts as done.
#[derive(Debug)]
pub struct PendingDelete {
    all: Arc<Tombstones>,
    layer: LayerKey,
    end: End,
    /// The same deletion, as other replicas see it.
    shared: Option<SharedDeletion>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Unanswered,
    Done,
    Refused,
}

impl Tombstones {
    /// Whose tombstones count for so long.
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            pending: DashMap::new(),
            done: DashMap::new(),
            full_until: Mutex::default(),
            unanswered: Mutex::new(LruCache::unbounded()),
        }
    }

    fn is_recent(&self, since: Instant) -> bool {
        since.elapsed() < self.ttl
    }

    pub(crate) fn begin(self: &Arc<Self>, blob: &BlobRef) -> PendingDelete {
        let layer = (blob.repository.clone(), blob.digest.bytes());
        *self.pending.entry(layer.clone()).or_default() += 1;
        PendingDelete {
            all: self.clone(),
            layer,
            end: End::Unanswered,
            shared: None,
        }
    }

    /// Whether no HEAD may bring a layer back.
    pub(crate) fn is_tombstoned(&self, blob: &BlobRef) -> bool {
        if self
            .full_until
            .lock()
            .is_some_and(|until| Instant::now() < until)
        {
            return true;
        }
        let layer = (blob.repository.clone(), blob.digest.bytes());
        self.pending.contains_key(&layer)
            || self
                .done
                .get(&layer)
                .is_some_and(|since| self.is_recent(*since))
            || {
                let unanswered = self.unanswered.lock();
                unanswered
                    .peek(&layer)
                    .is_some_and(|since| self.is_recent(*since))
            }
    }

    fn record(&self, layer: &LayerKey) {
        if self.done.len() >= BOUND {
            self.done.retain(|_, since| self.is_recent(*since));
        }
        if self.done.len() < BOUND {
            self.done.insert(layer.clone(), Instant::now());
        } else {
            *self.full_until.lock() = Some(Instant::now() + self.ttl);
        }
    }

    fn record_unanswered(&self, layer: &LayerKey) {
        let mut unanswered = self.unanswered.lock();
        unanswered.put(layer.clone(), Instant::now());
        while let Some((_, since)) = unanswered.peek_lru()
            && (unanswered.len() > UNANSWERED || !self.is_recent(*since))
        {
            unanswered.pop_lru();
        }
    }
}

impl PendingDelete {
    /// Other replicas see it too.
    pub(crate) fn sharing(mut self, deletion: SharedDeletion) -> Self {
        self.shared = Some(deletion);
        self
    }

    /// The registry has deleted the layer.
    pub fn record_deleted(&mut self) {
        self.end = End::Done;
    }

    /// The registry has refused the deletion.
    pub fn record_refused(&mut self) {
        self.end = End::Refused;
    }
}

impl Drop for PendingDelete {
    fn drop(&mut self) {
        // The tombstone first, so that there is no gap.
        match self.end {
            End::Done => self.all.record(&self.layer),
            End::Unanswered => self.all.record_unanswered(&self.layer),
            End::Refused => {}
        }
        match (self.end, &self.shared) {
            (End::Done, Some(shared)) => shared.confirm(),
            (End::Refused, Some(shared)) => shared.refuse(),
            (End::Unanswered, _) | (_, None) => {}
        }
        if let Some(mut count) = self.all.pending.get_mut(&self.layer) {
            *count = count.saturating_sub(1);
        }
        self.all
            .pending
            .remove_if(&self.layer, |_, count| *count == 0);
    }
}

#[cfg(test)]
mod tests;
