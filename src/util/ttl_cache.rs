//! Answers that are remembered for seconds, each for a time of its own.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

use crate::util::fingerprint::Fingerprint;

/// A bounded memory of answers to questions that are known by their fingerprint.
pub struct TtlCache<V>(Cache<Fingerprint, Entry<V>>);

/// An answer, and for how long it counts.
#[derive(Debug, Clone)]
pub struct Entry<V> {
    /// The answer.
    pub answer: V,
    /// It counts from when it is kept.
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
    /// Keeps at most `bound` answers; beyond, those go that are used least.
    pub fn new(bound: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(bound)
            .expire_after(Lifetimes)
            .build();
        Self(cache)
    }

    /// The remembered answer.
    pub async fn get(&self, question: &Fingerprint) -> Option<V> {
        self.0.get(question).await.map(|kept| kept.answer)
    }

    /// The remembered answer, or the one that `ask` gives; equal questions at once ask once.
    ///
    /// An error is no answer: it is shared by those who wait for it, and not kept.
    pub async fn get_or_fetch<E: Send + Sync + 'static>(
        &self,
        question: Fingerprint,
        ask: impl Future<Output = Result<Entry<V>, E>>,
    ) -> Result<V, Arc<E>> {
        let kept = self.0.try_get_with(question, ask).await?;
        Ok(kept.answer)
    }

    /// Keeps an answer that somebody has already.
    pub async fn insert(&self, question: Fingerprint, kept: Entry<V>) {
        self.0.insert(question, kept).await;
    }

    /// Takes an answer away.
    pub async fn forget(&self, question: &Fingerprint) {
        self.0.invalidate(question).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::fingerprint::Fingerprints;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn kept(answer: u32, lifetime: Duration) -> Entry<u32> {
        Entry { answer, lifetime }
    }

    const BOUND: u64 = 100;
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn equal_questions_at_once_ask_once() {
        let memory = TtlCache::new(16);
        let question = Fingerprints::new().unwrap().fingerprint(&[b"question"]);
        let asked = AtomicUsize::new(0);
        let ask = || async {
            memory
                .get_or_fetch(question, async {
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Ok::<_, ()>(kept(7, LONG))
                })
                .await
        };
        let answers = tokio::join!(ask(), ask(), ask());
        assert_eq!(answers, (Ok(7), Ok(7), Ok(7)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn one_who_goes_away_does_not_take_the_answer_from_the_others() {
        let memory = TtlCache::new(16);
        let question = Fingerprints::new().unwrap().fingerprint(&[b"question"]);
        let never = memory.get_or_fetch(question, std::future::pending::<Result<_, ()>>());
        let given_up = tokio::time::timeout(Duration::from_millis(50), never);
        let patient = memory.get_or_fetch(question, async { Ok::<_, ()>(kept(7, LONG)) });
        let (given_up, patient) = tokio::join!(given_up, patient);
        assert!(given_up.is_err());
        assert_eq!(patient, Ok(7));
    }

    #[tokio::test]
    async fn an_error_is_not_kept_and_an_answer_only_for_its_time() {
        let memory = TtlCache::new(16);
        let question = Fingerprints::new().unwrap().fingerprint(&[b"question"]);
        let failed = memory.get_or_fetch(question, async { Err("no") }).await;
        assert_eq!(failed, Err(Arc::new("no")));
        assert_eq!(memory.get(&question).await, None);
        memory
            .insert(question, kept(7, Duration::from_millis(20)))
            .await;
        assert_eq!(memory.get(&question).await, Some(7));
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert_eq!(memory.get(&question).await, None);
        memory.insert(question, kept(8, Duration::ZERO)).await;
        assert_eq!(memory.get(&question).await, None);
    }

    #[tokio::test]
    async fn the_memory_is_bounded() {
        let (memory, prints) = (TtlCache::new(BOUND), Fingerprints::new().unwrap());
        for number in 0..2 * BOUND {
            let question = prints.fingerprint(&[&number.to_be_bytes()]);
            memory.insert(question, kept(0, LONG)).await;
        }
        memory.0.run_pending_tasks().await;
        assert!(memory.0.entry_count() <= BOUND);
    }
}
