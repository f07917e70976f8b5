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
    ticket: Observation,
    until: Instant,
    is_withdrawn: Arc<AtomicBool>,
}

impl Lease {
    /// For so long after `ticket` was taken, before the registry was asked.
    pub fn new(ticket: Observation, counts_for: Duration) -> Self {
        Self {
            until: ticket.taken() + counts_for.max(AT_LEAST),
            ticket,
            is_withdrawn: Arc::default(),
        }
    }

    /// The same yes, and no longer than until then.
    pub fn no_longer_than(mut self, until: Option<Instant>) -> Self {
        self.until = until.map_or(self.until, |until| self.until.min(until));
        self
    }

    /// Whether it counts now, beside this registry.
    pub fn holds(&self, standing: &RegistryState) -> bool {
        Instant::now() < self.until
            && !self.is_withdrawn.load(Ordering::Acquire)
            && standing.is_unchanged_since(&self.ticket)
    }

    /// Whether a grant may rest on it that is used a moment later.
    ///
    /// The last tenth of its time belongs to links that are on their way, as with the registry's
    /// word that it is writable.
    pub fn will_hold(&self, standing: &RegistryState) -> bool {
        let moment = self.until.saturating_duration_since(self.ticket.taken()) / 10;
        Instant::now() + moment < self.until && self.holds(standing)
    }

    /// The registry has taken it back.
    pub fn withdraw(&self) {
        self.is_withdrawn.store(true, Ordering::Release);
    }

    /// How old the yes is.
    pub fn age(&self) -> Duration {
        self.ticket.taken().elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_ends_with_its_time_but_not_before_a_link_can_be_written() {
        let standing = RegistryState::default();
        assert!(Lease::new(standing.ticket(), Duration::ZERO).holds(&standing));
        let validity = Lease::new(standing.ticket(), LONG);
        let over = validity.clone().no_longer_than(Some(Instant::now()));
        assert!(validity.holds(&standing) && !over.holds(&standing));
        assert!(validity.no_longer_than(None).holds(&standing));
    }

    #[test]
    fn its_last_moment_is_for_links_that_are_on_their_way() {
        let standing = RegistryState::default();
        let of_age = |age| Lease::new(standing.ticket().older_by(age), LONG);
        let (half, old) = (of_age(LONG / 2), of_age(LONG * 9 / 10));
        assert!(half.will_hold(&standing) && half.holds(&standing));
        assert!(!old.will_hold(&standing) && old.holds(&standing));
        half.withdraw();
        assert!(!half.will_hold(&standing));
    }

    #[test]
    fn it_ends_for_all_that_rest_on_it_when_it_is_withdrawn() {
        let standing = RegistryState::default();
        let validity = Lease::new(standing.ticket(), LONG);
        let other = Lease::new(standing.ticket(), LONG);
        let same = validity.clone().no_longer_than(None);
        validity.withdraw();
        assert!(!same.holds(&standing) && other.holds(&standing));
    }

    #[test]
    fn it_ends_with_the_registrys_standing() {
        let standing = RegistryState::default();
        let validity = Lease::new(standing.ticket(), LONG);
        standing.refused_write();
        assert!(!validity.holds(&standing));
    }
}
