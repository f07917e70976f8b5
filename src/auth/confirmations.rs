//! Which credentials the registry itself has confirmed, and which it has refused.
//!
//! A credential key stands for that on which a decision of crossmount's rests. That is a login, or
//! a token's header, which names the signing key; each with the operator's files as they are.
//! Nothing is granted by a key that the registry has not confirmed within seconds: it may not trust
//! a signing key in its file yet, or no longer. A refused one is decided by the registry for a
//! while. more, that stands in its file. One that it has refused is left to it for a while.

use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::auth::grant::Lease;
use crate::upstream::{Observation, RegistryState};
use crate::util::Fingerprint;

/// How long the registry decides itself about a key that it has refused.
const REFUSAL_COUNTS_FOR: Duration = Duration::from_secs(60);
/// The most keys that are cached. Any other is probed, which is always right.
const BOUND: usize = 16 * 1024;

/// The registry's confirmations and refusals.
#[derive(Debug)]
pub(crate) struct UpstreamConfirmations {
    entries: DashMap<Fingerprint, Confirmation>,
    yes_counts_for: Duration,
}

#[derive(Debug)]
enum Confirmation {
    Yes(Lease),
    No(Instant),
}

impl Confirmation {
    fn is_fresh(&self, yes_counts_for: Duration) -> bool {
        match self {
            Self::Yes(lease) => lease.age() < yes_counts_for,
            Self::No(at) => at.elapsed() < REFUSAL_COUNTS_FOR,
        }
    }
}

impl UpstreamConfirmations {
    /// A confirmation counts for so long, and only while the registry is the same.
    pub(crate) fn new(yes_counts_for: Duration) -> Self {
        Self {
            entries: DashMap::new(),
            yes_counts_for,
        }
    }

    /// The registry's current confirmation, if there is one.
    pub(crate) fn current_confirmation(
        &self,
        credential_key: &Fingerprint,
        registry_state: &RegistryState,
    ) -> Option<Lease> {
        let entry = self.entries.get(credential_key)?;
        match &*entry {
            Confirmation::Yes(lease) if entry.is_fresh(self.yes_counts_for) => {
                lease.has_time_left(registry_state).then(|| lease.clone())
            }
            _ => None,
        }
    }

    /// Whether the registry refused the key so recently that it decides itself.
    pub(crate) fn is_in_dispute(&self, credential_key: &Fingerprint) -> bool {
        let entry = self.entries.get(credential_key);
        entry.is_some_and(|entry| {
            matches!(*entry, Confirmation::No(_)) && entry.is_fresh(self.yes_counts_for)
        })
    }

    /// Records a confirmation by a probe that was sent after `observation`; `None` if it does not
    /// count.
    pub(crate) fn record_confirmation(
        &self,
        credential_key: Fingerprint,
        observation: Observation,
    ) -> Option<Lease> {
        let lease = Lease::new(observation, self.yes_counts_for);
        self.make_room();
        let has_room = self.entries.len() < BOUND;
        match self.entries.entry(credential_key) {
            // It was refused meanwhile, or a short while ago.
            Entry::Occupied(entry)
                if matches!(entry.get(), Confirmation::No(_))
                    && entry.get().is_fresh(self.yes_counts_for) =>
            {
                return None;
            }
            Entry::Occupied(mut entry) => {
                drop(entry.insert(Confirmation::Yes(lease.clone())));
            }
            Entry::Vacant(place) if has_room => {
                drop(place.insert(Confirmation::Yes(lease.clone())));
            }
            Entry::Vacant(_) => {}
        }
        Some(lease)
    }

    /// Drops a doubtful confirmation: no grant, not even one in flight, may rest on it.
    pub(crate) fn forget_confirmation(&self, credential_key: &Fingerprint) {
        let is_yes = |entry: &Confirmation| match entry {
            Confirmation::Yes(lease) => {
                lease.revoke();
                true
            }
            Confirmation::No(_) => false,
        };
        self.entries
            .remove_if(credential_key, |_, entry| is_yes(entry));
    }

    /// Records that the registry refused what crossmount allows; returns whether that is new.
    pub(crate) fn record_refusal(&self, credential_key: Fingerprint) -> bool {
        self.forget_confirmation(&credential_key);
        self.make_room();
        let is_news = !self.is_in_dispute(&credential_key);
        if self.entries.len() < BOUND || self.entries.contains_key(&credential_key) {
            self.entries
                .insert(credential_key, Confirmation::No(Instant::now()));
        }
        is_news
    }

    fn make_room(&self) {
        if self.entries.len() >= BOUND {
            self.entries
                .retain(|_, entry| entry.is_fresh(self.yes_counts_for));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::Fingerprints;

    const TTL: Duration = Duration::from_secs(10);

    /// Confirmations of one credential at a registry that responds.
    struct Fixture {
        confirmations: UpstreamConfirmations,
        registry_state: RegistryState,
        key: Fingerprint,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                confirmations: UpstreamConfirmations::new(TTL),
                registry_state: RegistryState::default(),
                key: Fingerprints::new().unwrap().fingerprint(&[b"credentials"]),
            }
        }

        /// Records what the registry confirms just now.
        fn confirm(&self, key: Fingerprint) -> Option<Lease> {
            self.confirmations
                .record_confirmation(key, self.registry_state.observe())
        }

        fn is_confirmed(&self, key: &Fingerprint) -> bool {
            self.confirmations
                .current_confirmation(key, &self.registry_state)
                .is_some()
        }
    }

    #[test]
    fn a_key_is_good_from_its_confirmation_on_and_no_other_key_is() {
        let fixture = Fixture::new();
        let other = Fingerprints::new().unwrap().fingerprint(&[b"credentials"]);
        assert!(!fixture.is_confirmed(&fixture.key));
        assert!(fixture.confirm(fixture.key).is_some());
        assert!(fixture.is_confirmed(&fixture.key));
        assert!(!fixture.is_confirmed(&other));
    }

    #[test]
    fn a_confirmation_counts_for_its_time_and_while_the_registry_stays_the_same() {
        let mut fixture = Fixture::new();
        assert!(fixture.confirm(fixture.key).is_some());
        fixture.registry_state.record_unreachable();
        assert!(!fixture.is_confirmed(&fixture.key));
        assert!(fixture.confirm(fixture.key).is_some());
        fixture.confirmations.yes_counts_for = Duration::ZERO;
        assert!(!fixture.is_confirmed(&fixture.key));
    }

    #[test]
    fn a_refusal_counts_for_a_minute_whatever_was_probed_meanwhile() {
        let fixture = Fixture::new();
        let observation = fixture.registry_state.observe();
        assert!(fixture.confirmations.record_refusal(fixture.key));
        assert!(!fixture.confirmations.record_refusal(fixture.key));
        assert!(fixture.confirmations.is_in_dispute(&fixture.key));
        assert!(
            fixture
                .confirmations
                .record_confirmation(fixture.key, observation)
                .is_none()
        );
        assert!(!fixture.is_confirmed(&fixture.key));
        let long_ago = Instant::now().checked_sub(REFUSAL_COUNTS_FOR).unwrap();
        fixture
            .confirmations
            .entries
            .insert(fixture.key, Confirmation::No(long_ago));
        assert!(!fixture.confirmations.is_in_dispute(&fixture.key));
        assert!(fixture.confirm(fixture.key).is_some());
        assert!(fixture.is_confirmed(&fixture.key));
    }

    #[test]
    fn a_refusal_and_a_doubt_reach_the_grants_in_flight() {
        let fixture = Fixture::new();
        let first = fixture.confirm(fixture.key).unwrap();
        fixture.confirmations.forget_confirmation(&fixture.key);
        assert!(!first.is_valid(&fixture.registry_state));
        let second = fixture.confirm(fixture.key).unwrap();
        assert!(second.is_valid(&fixture.registry_state));
        assert!(fixture.confirmations.record_refusal(fixture.key));
        assert!(!second.is_valid(&fixture.registry_state));
    }

    #[test]
    fn the_cache_is_bounded_and_what_it_does_not_hold_is_not_good() {
        let fixture = Fixture::new();
        let prints = Fingerprints::new().unwrap();
        for number in 0..=BOUND {
            let key = prints.fingerprint(&[&number.to_be_bytes()]);
            assert!(fixture.confirm(key).is_some());
        }
        assert_eq!(fixture.confirmations.entries.len(), BOUND);
        let last = prints.fingerprint(&[&BOUND.to_be_bytes()]);
        assert!(!fixture.is_confirmed(&last));
    }
}
