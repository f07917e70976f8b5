//! Whether crossmount may write beside the registry at all.
//!
//! Two things must be known. That this store is the registry's own: a link that the registry
//! had just written was seen in it, since the start and since the registry was last
//! unreachable. And that the registry is writable: it answered the traceless probe so within
//! the last seconds. Together they keep crossmount from writing into a foreign folder, beside
//! a pull-through cache, or under the registry's garbage collector.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    #[must_use]
    pub fn taken(&self) -> Instant {
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
    #[must_use]
    pub fn ticket(&self) -> Observation {
        Observation {
            generation: self.state().generation,
            taken: Instant::now(),
        }
    }

    /// Whether nothing spoke against the registry since then.
    #[must_use]
    pub fn is_unchanged_since(&self, ticket: &Observation) -> bool {
        self.state().generation == ticket.generation
    }

    /// Whether the store was seen to be this registry's.
    #[must_use]
    pub fn is_store_proved(&self) -> bool {
        self.state().store_is_its
    }

    /// Whether a link may be written now.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.asked_within(PROBE_COUNTS_FOR)
    }

    /// Whether a link that takes its moment to be written may be begun now.
    ///
    /// The last tenth of the time for which the registry's word counts belongs to links that are
    /// on their way: without it those that meet its end would go to the registry.
    #[must_use]
    pub fn stays_writable(&self) -> bool {
        self.asked_within(PROBE_COUNTS_FOR * 9 / 10)
    }

    fn asked_within(&self, time: Duration) -> bool {
        let state = self.state();
        let fresh = |asked: Instant| asked.elapsed() < time;
        state.store_is_its && state.asked_writable.is_some_and(fresh)
    }

    /// Whether the registry has taken its word back, or never given it; an old word is no such.
    #[must_use]
    pub fn is_word_withdrawn(&self) -> bool {
        self.state().asked_writable.is_none()
    }

    /// A link that the registry has just written was seen in the store.
    ///
    /// Returns whether this was news.
    pub fn saw_link(&self, ticket: &Observation) -> bool {
        let mut state = self.state();
        let is_news = state.generation == ticket.generation && !state.store_is_its;
        if is_news {
            state.store_is_its = true;
        }
        is_news
    }

    /// The registry answered the traceless probe as writable.
    pub fn answered_writable(&self, ticket: &Observation) {
        let mut state = self.state();
        if state.generation == ticket.generation && state.asked_writable < Some(ticket.taken) {
            state.asked_writable = Some(ticket.taken);
        }
    }

    /// The registry answered a write with 405.
    pub fn refused_write(&self) {
        let mut state = self.state();
        state.asked_writable = None;
        state.generation += 1;
    }

    /// The registry answered the start of an upload with 405: read-only, or a pull-through cache.
    pub fn refused_upload(&self) {
        let mut state = self.state();
        *state = KnownState {
            generation: state.generation + 1,
            ..KnownState::default()
        };
    }

    /// A connection to the registry was refused or broke: it may be another one when it is back.
    pub fn unreachable(&self) {
        self.refused_upload();
    }

    fn state(&self) -> MutexGuard<'_, KnownState> {
        // No code panics while it holds this lock, and each change is whole in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proved() -> RegistryState {
        let standing = RegistryState::default();
        assert!(standing.saw_link(&standing.ticket()));
        standing.answered_writable(&standing.ticket());
        assert!(standing.is_writable());
        standing
    }

    #[test]
    fn both_proofs_are_needed() {
        let standing = RegistryState::default();
        standing.answered_writable(&standing.ticket());
        assert!(!standing.is_writable());
        let standing = RegistryState::default();
        standing.saw_link(&standing.ticket());
        assert!(standing.is_store_proved() && !standing.is_writable());
    }

    fn asked_before(age: Duration) -> RegistryState {
        let standing = proved();
        let asked = Instant::now().checked_sub(age);
        standing.state().asked_writable = asked;
        standing
    }

    #[test]
    fn the_end_of_the_registrys_word_is_for_links_that_are_on_their_way() {
        let standing = asked_before(PROBE_COUNTS_FOR / 2);
        assert!(standing.stays_writable() && standing.is_writable());
        let standing = asked_before(PROBE_COUNTS_FOR * 9 / 10);
        assert!(!standing.stays_writable() && standing.is_writable());
    }

    #[test]
    fn the_registrys_word_counts_for_five_seconds_from_the_question() {
        let standing = asked_before(PROBE_COUNTS_FOR);
        assert!(!standing.is_writable());
        assert!(!standing.is_word_withdrawn());
        standing.refused_write();
        assert!(standing.is_word_withdrawn());
    }

    #[test]
    fn a_refused_write_ends_it_at_once_and_keeps_the_store() {
        let standing = proved();
        standing.refused_write();
        assert!(!standing.is_writable() && standing.is_store_proved());
        standing.answered_writable(&standing.ticket());
        assert!(standing.is_writable());
    }

    #[test]
    fn an_unreachable_registry_must_prove_everything_again() {
        let standing = proved();
        standing.unreachable();
        assert!(!standing.is_store_proved());
        standing.answered_writable(&standing.ticket());
        assert!(!standing.is_writable());
    }

    #[test]
    fn what_was_asked_before_a_refusal_counts_for_nothing() {
        let standing = proved();
        let ticket = standing.ticket();
        standing.unreachable();
        assert!(!standing.saw_link(&ticket));
        standing.saw_link(&standing.ticket());
        standing.answered_writable(&ticket);
        assert!(!standing.is_writable());
    }
}
