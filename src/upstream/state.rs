//! Whether crossmount may write beside the registry at all.
//!
//! Two things must be known. That this store is the registry's own: a link that the registry
//! had just written was seen in it, since the start and since the registry was last
//! unreachable. And that the registry is writable: it answered the traceless probe so within
//! the last seconds. Together they keep crossmount from writing into a foreign directory, beside
//! a pull-through cache, or under the registry's garbage collector.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the registry's word that it is writable counts, from when it was asked.
pub const PROBE_COUNTS_FOR: Duration = Duration::from_secs(5);

/// What is known about the registry, shared by all requests.
#[derive(Debug, Default)]
pub struct RegistryState(Mutex<KnownState>);

#[derive(Debug, Default)]
struct KnownState {
    store_is_its: bool,
    asked_writable: Option<Instant>,
    /// Grows with everything that takes knowledge away.
    generation: u64,
}

/// Taken before looking or asking: what was found counts only if nothing spoke against it meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    generation: u64,
    taken: Instant,
}

impl Observation {
    /// When it was taken.
    pub fn observed_at(&self) -> Instant {
        self.taken
    }

    /// The same, taken so much earlier.
    #[cfg(test)]
    pub(crate) fn older_by(self, age: Duration) -> Self {
        let taken = self.taken.checked_sub(age).unwrap();
        Self { taken, ..self }
    }
}

impl RegistryState {
    /// Taken before a question is asked or a request is passed on.
    pub fn observe(&self) -> Observation {
        Observation {
            generation: self.0.lock().generation,
            taken: Instant::now(),
        }
    }

    /// Whether nothing spoke against the registry since then.
    pub fn is_unchanged_since(&self, observation: &Observation) -> bool {
        self.0.lock().generation == observation.generation
    }

    /// Whether the store was seen to be this registry's.
    pub fn is_store_verified(&self) -> bool {
        self.0.lock().store_is_its
    }

    /// Whether a link may be written now.
    pub fn is_writable(&self) -> bool {
        self.probed_within(PROBE_COUNTS_FOR)
    }

    /// Whether a link that takes its moment to be written may be begun now.
    ///
    /// The last tenth of the time for which the registry's word counts belongs to links that are
    /// on their way: without it those that meet its end would go to the registry.
    pub fn is_writable_for_new_link(&self) -> bool {
        self.probed_within(PROBE_COUNTS_FOR * 9 / 10)
    }

    fn probed_within(&self, time: Duration) -> bool {
        let state = self.0.lock();
        let fresh = |asked: Instant| asked.elapsed() < time;
        state.store_is_its && state.asked_writable.is_some_and(fresh)
    }

    /// Whether the registry has taken its word back, or never given it; an old word is no such.
    pub fn is_write_revoked(&self) -> bool {
        self.0.lock().asked_writable.is_none()
    }

    /// A link that the registry has just written was seen in the store.
    ///
    /// Returns whether this was news.
    pub fn record_own_link(&self, observation: &Observation) -> bool {
        let mut state = self.0.lock();
        let is_news = state.generation == observation.generation && !state.store_is_its;
        if is_news {
            state.store_is_its = true;
        }
        is_news
    }

    /// The registry answered the traceless probe as writable.
    pub fn record_writable(&self, observation: &Observation) {
        let mut state = self.0.lock();
        if state.generation == observation.generation
            && state.asked_writable < Some(observation.taken)
        {
            state.asked_writable = Some(observation.taken);
        }
    }

    /// The registry answered a write with 405.
    pub fn record_write_refused(&self) {
        let mut state = self.0.lock();
        state.asked_writable = None;
        state.generation += 1;
    }

    /// The registry answered the start of an upload with 405: read-only, or a pull-through cache.
    pub fn record_upload_refused(&self) {
        let mut state = self.0.lock();
        *state = KnownState {
            generation: state.generation + 1,
            ..KnownState::default()
        };
    }

    /// A connection to the registry was refused or broke: it may be another one when it is back.
    pub fn record_unreachable(&self) {
        self.record_upload_refused();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proved() -> RegistryState {
        let registry_state = RegistryState::default();
        assert!(registry_state.record_own_link(&registry_state.observe()));
        registry_state.record_writable(&registry_state.observe());
        assert!(registry_state.is_writable());
        registry_state
    }

    #[test]
    fn both_proofs_are_needed() {
        let registry_state = RegistryState::default();
        registry_state.record_writable(&registry_state.observe());
        assert!(!registry_state.is_writable());
        let registry_state = RegistryState::default();
        registry_state.record_own_link(&registry_state.observe());
        assert!(registry_state.is_store_verified() && !registry_state.is_writable());
    }

    fn asked_before(age: Duration) -> RegistryState {
        let registry_state = proved();
        let asked = Instant::now().checked_sub(age);
        registry_state.0.lock().asked_writable = asked;
        registry_state
    }

    #[test]
    fn the_end_of_the_registrys_word_is_for_links_that_are_on_their_way() {
        let registry_state = asked_before(PROBE_COUNTS_FOR / 2);
        assert!(registry_state.is_writable_for_new_link() && registry_state.is_writable());
        let registry_state = asked_before(PROBE_COUNTS_FOR * 9 / 10);
        assert!(!registry_state.is_writable_for_new_link() && registry_state.is_writable());
    }

    #[test]
    fn the_registrys_word_counts_for_five_seconds_from_the_question() {
        let registry_state = asked_before(PROBE_COUNTS_FOR);
        assert!(!registry_state.is_writable());
        assert!(!registry_state.is_write_revoked());
        registry_state.record_write_refused();
        assert!(registry_state.is_write_revoked());
    }

    #[test]
    fn a_refused_write_ends_it_at_once_and_keeps_the_store() {
        let registry_state = proved();
        registry_state.record_write_refused();
        assert!(!registry_state.is_writable() && registry_state.is_store_verified());
        registry_state.record_writable(&registry_state.observe());
        assert!(registry_state.is_writable());
    }

    #[test]
    fn an_unreachable_registry_must_prove_everything_again() {
        let registry_state = proved();
        registry_state.record_unreachable();
        assert!(!registry_state.is_store_verified());
        registry_state.record_writable(&registry_state.observe());
        assert!(!registry_state.is_writable());
    }

    #[test]
    fn what_was_asked_before_a_refusal_counts_for_nothing() {
        let registry_state = proved();
        let observation = registry_state.observe();
        registry_state.record_unreachable();
        assert!(!registry_state.record_own_link(&observation));
        registry_state.record_own_link(&registry_state.observe());
        registry_state.record_writable(&observation);
        assert!(!registry_state.is_writable());
    }
}
