//! Whether crossmount may write beside the registry.
//!
//! Two things must hold. The store is verified: a link that the registry had just written was found
//! in it, since the start and since the registry was last unreachable. And the registry is
//! writable: the last write-availability probe said so, within the last seconds. Together they
//! keep crossmount from writing into a wrong directory, beside a pull-through cache, or during the
//! registry's garbage collection.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a write-availability probe counts, from when it was sent.
pub(crate) const PROBE_COUNTS_FOR: Duration = Duration::from_secs(5);

/// The state of the registry, shared by all requests.
#[derive(Debug, Default)]
pub struct RegistryState(Mutex<KnownState>);

#[derive(Debug, Default)]
struct KnownState {
    is_store_verified: bool,
    probed_writable: Option<Instant>,
    /// Grows with every event that invalidates earlier observations.
    generation: u64,
}

/// Taken before a probe or a look-up, whose result counts only if no event invalidated it.
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

    /// The same observation, made earlier.
    #[cfg(test)]
    pub(crate) fn older_by(self, age: Duration) -> Self {
        let taken = self.taken.checked_sub(age).unwrap();
        Self { taken, ..self }
    }
}

impl RegistryState {
    /// Taken before a probe is sent or a request is forwarded.
    pub fn observe(&self) -> Observation {
        Observation {
            generation: self.0.lock().generation,
            taken: Instant::now(),
        }
    }

    /// Whether no event has invalidated the observation.
    pub fn is_unchanged_since(&self, observation: &Observation) -> bool {
        self.0.lock().generation == observation.generation
    }

    /// Whether the store is verified: it showed a link that this registry has just written.
    pub fn is_store_verified(&self) -> bool {
        self.0.lock().is_store_verified
    }

    /// Whether a link may be written now.
    pub fn is_writable(&self) -> bool {
        self.probed_within(PROBE_COUNTS_FOR)
    }

    /// Whether a link may be begun now that takes some time to be written.
    ///
    /// The last tenth of a probe's validity is for links in flight. Without it those that reach its
    /// end would be forwarded.
    pub fn is_writable_for_new_link(&self) -> bool {
        self.probed_within(PROBE_COUNTS_FOR * 9 / 10)
    }

    fn probed_within(&self, time: Duration) -> bool {
        let state = self.0.lock();
        let fresh = |sent_at: Instant| sent_at.elapsed() < time;
        state.is_store_verified && state.probed_writable.is_some_and(fresh)
    }

    /// Whether the last probe was revoked, or there was none; an expired one is not revoked.
    pub fn is_write_revoked(&self) -> bool {
        self.0.lock().probed_writable.is_none()
    }

    /// Records that a link that the registry has just written was found in the store.
    ///
    /// Returns whether the store was not verified before.
    pub fn record_own_link(&self, observation: &Observation) -> bool {
        let mut state = self.0.lock();
        let is_news = state.generation == observation.generation && !state.is_store_verified;
        if is_news {
            state.is_store_verified = true;
        }
        is_news
    }

    /// Records that the traceless probe found the registry writable.
    pub fn record_writable(&self, observation: &Observation) {
        let mut state = self.0.lock();
        if state.generation == observation.generation
            && state.probed_writable < Some(observation.taken)
        {
            state.probed_writable = Some(observation.taken);
        }
    }

    /// Records that the registry responded 405 to a write.
    pub fn record_write_refused(&self) {
        let mut state = self.0.lock();
        state.probed_writable = None;
        state.generation += 1;
    }

    /// Records a 405 to the start of an upload: the registry is read-only, or a pull-through cache.
    pub fn record_upload_refused(&self) {
        let mut state = self.0.lock();
        *state = KnownState {
            generation: state.generation + 1,
            ..KnownState::default()
        };
    }

    /// Records a refused or broken connection: another registry may be there afterwards.
    pub fn record_unreachable(&self) {
        self.record_upload_refused();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified() -> RegistryState {
        let registry_state = RegistryState::default();
        assert!(registry_state.record_own_link(&registry_state.observe()));
        registry_state.record_writable(&registry_state.observe());
        assert!(registry_state.is_writable());
        registry_state
    }

    #[test]
    fn a_verified_store_and_a_writable_registry_are_both_needed() {
        let registry_state = RegistryState::default();
        registry_state.record_writable(&registry_state.observe());
        assert!(!registry_state.is_writable());
        let registry_state = RegistryState::default();
        registry_state.record_own_link(&registry_state.observe());
        assert!(registry_state.is_store_verified() && !registry_state.is_writable());
    }

    fn probed_before(age: Duration) -> RegistryState {
        let registry_state = verified();
        let asked = Instant::now().checked_sub(age);
        registry_state.0.lock().probed_writable = asked;
        registry_state
    }

    #[test]
    fn the_end_of_a_probes_validity_is_for_links_in_flight() {
        let registry_state = probed_before(PROBE_COUNTS_FOR / 2);
        assert!(registry_state.is_writable_for_new_link() && registry_state.is_writable());
        let registry_state = probed_before(PROBE_COUNTS_FOR * 9 / 10);
        assert!(!registry_state.is_writable_for_new_link() && registry_state.is_writable());
    }

    #[test]
    fn a_probe_counts_for_five_seconds_from_when_it_was_sent() {
        let registry_state = probed_before(PROBE_COUNTS_FOR);
        assert!(!registry_state.is_writable());
        assert!(!registry_state.is_write_revoked());
        registry_state.record_write_refused();
        assert!(registry_state.is_write_revoked());
    }

    #[test]
    fn a_refused_write_ends_it_at_once_and_keeps_the_store() {
        let registry_state = verified();
        registry_state.record_write_refused();
        assert!(!registry_state.is_writable() && registry_state.is_store_verified());
        registry_state.record_writable(&registry_state.observe());
        assert!(registry_state.is_writable());
    }

    #[test]
    fn after_an_unreachable_registry_store_and_probe_are_needed_again() {
        let registry_state = verified();
        registry_state.record_unreachable();
        assert!(!registry_state.is_store_verified());
        registry_state.record_writable(&registry_state.observe());
        assert!(!registry_state.is_writable());
    }

    #[test]
    fn a_probe_sent_before_a_refusal_counts_for_nothing() {
        let registry_state = verified();
        let observation = registry_state.observe();
        registry_state.record_unreachable();
        assert!(!registry_state.record_own_link(&observation));
        registry_state.record_own_link(&registry_state.observe());
        registry_state.record_writable(&observation);
        assert!(!registry_state.is_writable());
    }
}
