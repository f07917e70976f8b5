//! What was deleted on purpose, or is being deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use lru::LruCache;
use parking_lot::Mutex;

use crate::oci::{BlobRef, RepositoryName};

/// How long a HEAD brings nothing back that was deleted.
const BARRED_FOR: Duration = Duration::from_secs(60 * 60);
/// Deletions that are remembered; where there are more, everything is barred for as long.
const BOUND: usize = 64 * 1024;
/// Deletions without an answer that are remembered, the last. Anybody can cause them, so beyond
/// the bound the oldest are forgotten, and nobody else's layers are barred.
const UNANSWERED: usize = 16 * 1024;

type LayerKey = (RepositoryName, [u8; 32]);

/// Remembers deletions, each from before the registry hears of it.
#[derive(Debug)]
pub(crate) struct Tombstones {
    /// How many deletions of a layer are on their way.
    pending: DashMap<LayerKey, usize>,
    /// What the registry said that it has deleted, and when.
    done: DashMap<LayerKey, Instant>,
    /// Everything is barred until then.
    full_until: Mutex<Option<Instant>>,
    /// What it may have deleted last, and when: nobody heard its answer.
    unanswered: Mutex<LruCache<LayerKey, Instant>>,
}

/// A deletion that is on its way. Dropped without an answer, it counts as one that was done.
#[derive(Debug)]
pub struct PendingDelete {
    all: Arc<Tombstones>,
    layer: LayerKey,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Unanswered,
    Done,
    Refused,
}

impl Default for Tombstones {
    fn default() -> Self {
        Self {
            pending: DashMap::new(),
            done: DashMap::new(),
            full_until: Mutex::default(),
            unanswered: Mutex::new(LruCache::unbounded()),
        }
    }
}

fn is_recent(since: Instant) -> bool {
    since.elapsed() < BARRED_FOR
}

impl Tombstones {
    pub fn begin(self: &Arc<Self>, blob: &BlobRef) -> PendingDelete {
        let layer = (blob.repository.clone(), blob.digest.bytes());
        *self.pending.entry(layer.clone()).or_default() += 1;
        PendingDelete {
            all: self.clone(),
            layer,
            end: End::Unanswered,
        }
    }

    /// Whether no HEAD may bring a layer back.
    pub fn is_tombstoned(&self, blob: &BlobRef) -> bool {
        if self
            .full_until
            .lock()
            .is_some_and(|until| Instant::now() < until)
        {
            return true;
        }
        let layer = (blob.repository.clone(), blob.digest.bytes());
        self.pending.contains_key(&layer)
            || self.done.get(&layer).is_some_and(|since| is_recent(*since))
            || {
                let unanswered = self.unanswered.lock();
                unanswered.peek(&layer).copied().is_some_and(is_recent)
            }
    }

    fn remember(&self, layer: &LayerKey) {
        if self.done.len() >= BOUND {
            self.done.retain(|_, since| is_recent(*since));
        }
        if self.done.len() < BOUND {
            self.done.insert(layer.clone(), Instant::now());
        } else {
            *self.full_until.lock() = Some(Instant::now() + BARRED_FOR);
        }
    }

    fn remember_unanswered(&self, layer: &LayerKey) {
        let mut unanswered = self.unanswered.lock();
        unanswered.put(layer.clone(), Instant::now());
        while let Some((_, since)) = unanswered.peek_lru()
            && (unanswered.len() > UNANSWERED || !is_recent(*since))
        {
            unanswered.pop_lru();
        }
    }
}

impl PendingDelete {
    /// The registry has deleted the layer.
    pub fn record_deleted(&mut self) {
        self.end = End::Done;
    }

    /// The registry has not deleted it.
    pub fn record_refused(&mut self) {
        self.end = End::Refused;
    }
}

impl Drop for PendingDelete {
    fn drop(&mut self) {
        // First what stays, so that the layer is barred without a gap.
        match self.end {
            End::Done => self.all.remember(&self.layer),
            End::Unanswered => self.all.remember_unanswered(&self.layer),
            End::Refused => {}
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
