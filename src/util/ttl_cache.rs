//! A cache whose entries have a lifetime each.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

use crate::util::fingerprint::Fingerprint;

/// A bounded cache with fingerprints as keys.
pub struct TtlCache<V>(Cache<Fingerprint, Entry<V>>);

/// A value, and how long it may be used.
#[derive(Debug, Clone)]
pub struct Entry<V> {
    /// The value.
    pub answer: V,
    /// It begins when the entry is inserted.
    pub lifetime: Duration,
}

struct Lifetimes;

impl<V> Expiry<Fingerprint, Entry<V>> for Lifetimes {
    fn expire_after_create(
        &self,
        _: &Fingerprint,
        kept: &Entry<V>,
        _: Instant,
    ) -> Option<Duration> {
        Some(kept.lifetime)
    }

    fn expire_after_update(
        &self,
        _: &Fingerprint,
        kept: &Entry<V>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.lifetime)
    }
}

impl<V> fmt::Debug for TtlCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl<V: Clone + Send + Sync + 'static> TtlCache<V> {
    /// Holds at most `bound` entries; beyond, the least used are evicted.
    pub fn new(bound: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(bound)
            .expire_after(Lifetimes)
            .build();
        Self(cache)
    }

    /// The cached value.
    pub async fn get(&self, key: &Fingerprint) -> Option<V> {
        self.0.get(key).await.map(|kept| kept.answer)
    }

    /// The cached value, or the one that `fetch` returns; equal requests at once fetch once.
    ///
    /// An error is not cached, but every request that waits for it gets it.
    pub async fn get_or_fetch<E: Send + Sync + 'static>(
        &self,
        key: Fingerprint,
        fetch: impl Future<Output = Result<Entry<V>, E>>,
    ) -> Result<V, Arc<E>> {
        let kept = self.0.try_get_with(key, fetch).await?;
        Ok(kept.answer)
    }

    /// Inserts a value.
    pub async fn insert(&self, key: Fingerprint, entry: Entry<V>) {
        self.0.insert(key, entry).await;
    }

    /// Removes a value.
    pub async fn forget(&self, key: &Fingerprint) {
        self.0.invalidate(key).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::fingerprint::Fingerprints;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn entry(answer: u32, lifetime: Duration) -> Entry<u32> {
        Entry { answer, lifetime }
    }

    const BOUND: u64 = 100;
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn equal_requests_at_once_fetch_once() {
        let memory = TtlCache::new(16);
        let key = Fingerprints::new().unwrap().fingerprint(&[b"key"]);
        let asked = AtomicUsize::new(0);
        let fetch = || async {
            memory
                .get_or_fetch(key, async {
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Ok::<_, ()>(entry(7, LONG))
                })
                .await
        };
        let answers = tokio::join!(fetch(), fetch(), fetch());
        assert_eq!(answers, (Ok(7), Ok(7), Ok(7)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_cancelled_request_does_not_take_the_value_from_the_others() {
        let memory = TtlCache::new(16);
        let key = Fingerprints::new().unwrap().fingerprint(&[b"key"]);
        let never = memory.get_or_fetch(key, std::future::pending::<Result<_, ()>>());
        let given_up = tokio::time::timeout(Duration::from_millis(50), never);
        let patient = memory.get_or_fetch(key, async { Ok::<_, ()>(entry(7, LONG)) });
        let (given_up, patient) = tokio::join!(given_up, patient);
        assert!(given_up.is_err());
        assert_eq!(patient, Ok(7));
    }

    #[tokio::test]
    async fn an_error_is_not_cached_and_a_value_only_for_its_time() {
        let memory = TtlCache::new(16);
        let key = Fingerprints::new().unwrap().fingerprint(&[b"key"]);
        let failed = memory.get_or_fetch(key, async { Err("no") }).await;
        assert_eq!(failed, Err(Arc::new("no")));
        assert_eq!(memory.get(&key).await, None);
        memory.insert(key, entry(6, LONG)).await;
        assert_eq!(memory.get(&key).await, Some(6));
        let short = Duration::from_millis(20);
        memory.insert(key, entry(7, short)).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert_eq!(memory.get(&key).await, None);
        memory.insert(key, entry(8, Duration::ZERO)).await;
        assert_eq!(memory.get(&key).await, None);
    }

    #[tokio::test]
    async fn the_cache_is_bounded() {
        let (memory, prints) = (TtlCache::new(BOUND), Fingerprints::new().unwrap());
        for number in 0..2 * BOUND {
            let key = prints.fingerprint(&[&number.to_be_bytes()]);
            memory.insert(key, entry(0, LONG)).await;
        }
        memory.0.run_pending_tasks().await;
        assert!(memory.0.entry_count() <= BOUND);
    }
}
