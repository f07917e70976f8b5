//! Until when, and under which conditions, a grant may still be used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::upstream::{Observation, RegistryState};

/// Writing a link takes a moment, also where no decision is to be remembered.
const AT_LEAST: Duration = Duration::from_secs(1);

/// A yes of the registry's, and how long it counts.
///
/// Whoever uses a grant looks at this again just before the link becomes visible. Clones are
/// the same yes: one that is withdrawn is withdrawn for all that rests on it.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    observation: Observation,
    until: Instant,
    is_withdrawn: Arc<AtomicBool>,
}

impl Lease {
    /// For so long after `observation` was taken, before the registry was asked.
    pub fn new(observation: Observation, counts_for: Duration) -> Self {
        Self {
            until: observation.observed_at() + counts_for.max(AT_LEAST),
            observation,
            is_withdrawn: Arc::default(),
        }
    }

    /// The same yes, and no longer than until then.
    pub fn limited_to(mut self, until: Option<Instant>) -> Self {
        self.until = until.map_or(self.until, |until| self.until.min(until));
        self
    }

    /// Whether it counts now, beside this registry.
    pub fn is_valid(&self, registry_state: &RegistryState) -> bool {
        Instant::now() < self.until
            && !self.is_withdrawn.load(Ordering::Acquire)
            && registry_state.is_unchanged_since(&self.observation)
    }

    /// Whether a grant may rest on it that is used a moment later.
    ///
    /// The last tenth of its time belongs to links that are on their way, as with the registry's
    /// word that it is writable.
    pub fn has_time_left(&self, registry_state: &RegistryState) -> bool {
        let moment = self
            .until
            .saturating_duration_since(self.observation.observed_at())
            / 10;
        Instant::now() + moment < self.until && self.is_valid(registry_state)
    }

    /// The registry has taken it back.
    pub fn revoke(&self) {
        self.is_withdrawn.store(true, Ordering::Release);
    }

    /// How old the yes is.
    pub fn age(&self) -> Duration {
        self.observation.observed_at().elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_ends_with_its_time_but_not_before_a_link_can_be_written() {
        let registry_state = RegistryState::default();
        assert!(Lease::new(registry_state.observe(), Duration::ZERO).is_valid(&registry_state));
        let lease = Lease::new(registry_state.observe(), LONG);
        let over = lease.clone().limited_to(Some(Instant::now()));
        assert!(lease.is_valid(&registry_state) && !over.is_valid(&registry_state));
        assert!(lease.limited_to(None).is_valid(&registry_state));
    }

    #[test]
    fn its_last_moment_is_for_links_that_are_on_their_way() {
        let registry_state = RegistryState::default();
        let of_age = |age| Lease::new(registry_state.observe().older_by(age), LONG);
        let (half, old) = (of_age(LONG / 2), of_age(LONG * 9 / 10));
        assert!(half.has_time_left(&registry_state) && half.is_valid(&registry_state));
        assert!(!old.has_time_left(&registry_state) && old.is_valid(&registry_state));
        half.revoke();
        assert!(!half.has_time_left(&registry_state));
    }

    #[test]
    fn it_ends_for_all_that_rest_on_it_when_it_is_withdrawn() {
        let registry_state = RegistryState::default();
        let lease = Lease::new(registry_state.observe(), LONG);
        let other = Lease::new(registry_state.observe(), LONG);
        let same = lease.clone().limited_to(None);
        lease.revoke();
        assert!(!same.is_valid(&registry_state) && other.is_valid(&registry_state));
    }

    #[test]
    fn it_ends_with_the_registrys_standing() {
        let registry_state = RegistryState::default();
        let lease = Lease::new(registry_state.observe(), LONG);
        registry_state.record_write_refused();
        assert!(!lease.is_valid(&registry_state));
    }
}
