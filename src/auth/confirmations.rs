//! For what the registry itself has vouched, and what it has refused.
//!
//! A voucher is what a judgement made here rests on: a token's header, which names the key that
//! signed it, or a login, each as the operator's files stand. Nothing is granted by a voucher of
//! which the registry has not said yes within seconds: it may not believe a key yet, or not any
//! more, that stands in its file. One that it has refused is left to it for a while.

use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::auth::grant::Lease;
use crate::upstream::{Observation, RegistryState};
use crate::util::Fingerprint;

/// How long the registry decides itself about a voucher that it has refused.
const REFUSAL_COUNTS_FOR: Duration = Duration::from_secs(60);
/// The most vouchers that are remembered. One that is not is asked about: that is always right.
const BOUND: usize = 16 * 1024;

/// What the registry said of vouchers.
#[derive(Debug)]
pub(crate) struct UpstreamConfirmations {
    said: DashMap<Fingerprint, Confirmation>,
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
    /// A yes counts for so long, and no longer than the registry stays the same.
    pub fn new(yes_counts_for: Duration) -> Self {
        Self {
            said: DashMap::new(),
            yes_counts_for,
        }
    }

    /// The registry's yes, as far as one is known.
    pub fn current_confirmation(
        &self,
        credential_key: &Fingerprint,
        registry_state: &RegistryState,
    ) -> Option<Lease> {
        let said = self.said.get(credential_key)?;
        match &*said {
            Confirmation::Yes(lease) if said.is_fresh(self.yes_counts_for) => {
                lease.has_time_left(registry_state).then(|| lease.clone())
            }
            _ => None,
        }
    }

    /// Whether the registry refused so lately that it decides itself.
    pub fn is_in_dispute(&self, credential_key: &Fingerprint) -> bool {
        let said = self.said.get(credential_key);
        said.is_some_and(|said| {
            matches!(*said, Confirmation::No(_)) && said.is_fresh(self.yes_counts_for)
        })
    }

    /// The registry said yes to a question from after `observation`; `None` where that does not count.
    pub fn record_confirmation(
        &self,
        credential_key: Fingerprint,
        observation: Observation,
    ) -> Option<Lease> {
        let lease = Lease::new(observation, self.yes_counts_for);
        self.make_room();
        let has_room = self.said.len() < BOUND;
        match self.said.entry(credential_key) {
            // It was refused meanwhile, or a short while ago.
            Entry::Occupied(said)
                if matches!(said.get(), Confirmation::No(_))
                    && said.get().is_fresh(self.yes_counts_for) =>
            {
                return None;
            }
            Entry::Occupied(mut said) => {
                drop(said.insert(Confirmation::Yes(lease.clone())));
            }
            Entry::Vacant(place) if has_room => {
                drop(place.insert(Confirmation::Yes(lease.clone())));
            }
            Entry::Vacant(_) => {}
        }
        Some(lease)
    }

    /// There is doubt about a yes: neither grants that rest on it nor new ones may use it.
    pub fn forget_confirmation(&self, credential_key: &Fingerprint) {
        let is_yes = |said: &Confirmation| match said {
            Confirmation::Yes(lease) => {
                lease.revoke();
                true
            }
            Confirmation::No(_) => false,
        };
        self.said.remove_if(credential_key, |_, said| is_yes(said));
    }

    /// The registry refused what is allowed here; returns whether that is news.
    pub fn record_refusal(&self, credential_key: Fingerprint) -> bool {
        self.forget_confirmation(&credential_key);
        self.make_room();
        let is_news = !self.is_in_dispute(&credential_key);
        if self.said.len() < BOUND || self.said.contains_key(&credential_key) {
            self.said
                .insert(credential_key, Confirmation::No(Instant::now()));
        }
        is_news
    }

    fn make_room(&self) {
        if self.said.len() >= BOUND {
            self.said
                .retain(|_, said| said.is_fresh(self.yes_counts_for));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::Fingerprints;

    const TTL: Duration = Duration::from_secs(10);

    fn fresh() -> (UpstreamConfirmations, RegistryState, Fingerprint) {
        let credential_key = Fingerprints::new().unwrap().fingerprint(&[b"voucher"]);
        (
            UpstreamConfirmations::new(TTL),
            RegistryState::default(),
            credential_key,
        )
    }

    #[test]
    fn a_voucher_is_good_from_the_registrys_yes_on_and_only_itself() {
        let (confirmations, registry_state, credential_key) = fresh();
        let other = Fingerprints::new().unwrap().fingerprint(&[b"voucher"]);
        assert!(
            confirmations
                .current_confirmation(&credential_key, &registry_state)
                .is_none()
        );
        assert!(
            confirmations
                .record_confirmation(credential_key, registry_state.observe())
                .is_some()
        );
        assert!(
            confirmations
                .current_confirmation(&credential_key, &registry_state)
                .is_some()
        );
        assert!(
            confirmations
                .current_confirmation(&other, &registry_state)
                .is_none()
        );
    }

    #[test]
    fn a_yes_counts_for_its_time_and_while_the_registry_stays_the_same() {
        let (mut confirmations, registry_state, credential_key) = fresh();
        assert!(
            confirmations
                .record_confirmation(credential_key, registry_state.observe())
                .is_some()
        );
        registry_state.record_unreachable();
        assert!(
            confirmations
                .current_confirmation(&credential_key, &registry_state)
                .is_none()
        );
        assert!(
            confirmations
                .record_confirmation(credential_key, registry_state.observe())
                .is_some()
        );
        confirmations.yes_counts_for = Duration::ZERO;
        assert!(
            confirmations
                .current_confirmation(&credential_key, &registry_state)
                .is_none()
        );
    }

    #[test]
    fn a_refusal_counts_for_a_minute_whatever_was_asked_meanwhile() {
        let (confirmations, registry_state, credential_key) = fresh();
        let observation = registry_state.observe();
        assert!(confirmations.record_refusal(credential_key));
        assert!(!confirmations.record_refusal(credential_key));
        assert!(confirmations.is_in_dispute(&credential_key));
        assert!(
            confirmations
                .record_confirmation(credential_key, observation)
                .is_none()
        );
        assert!(
            confirmations
                .current_confirmation(&credential_key, &registry_state)
                .is_none()
        );
        let long_ago = Instant::now().checked_sub(REFUSAL_COUNTS_FOR).unwrap();
        confirmations
            .said
            .insert(credential_key, Confirmation::No(long_ago));
        assert!(!confirmations.is_in_dispute(&credential_key));
        assert!(
            confirmations
                .record_confirmation(credential_key, registry_state.observe())
                .is_some()
        );
        assert!(
            confirmations
                .current_confirmation(&credential_key, &registry_state)
                .is_some()
        );
    }

    #[test]
    fn a_refusal_and_a_doubt_reach_the_grants_that_are_on_their_way() {
        let (confirmations, registry_state, credential_key) = fresh();
        let first = confirmations
            .record_confirmation(credential_key, registry_state.observe())
            .unwrap();
        confirmations.forget_confirmation(&credential_key);
        assert!(!first.is_valid(&registry_state));
        let second = confirmations
            .record_confirmation(credential_key, registry_state.observe())
            .unwrap();
        assert!(second.is_valid(&registry_state));
        assert!(confirmations.record_refusal(credential_key));
        assert!(!second.is_valid(&registry_state));
    }

    #[test]
    fn the_memory_is_bounded_and_what_it_does_not_hold_is_not_good() {
        let (confirmations, registry_state, _) = fresh();
        let prints = Fingerprints::new().unwrap();
        for number in 0..=BOUND {
            let credential_key = prints.fingerprint(&[&number.to_be_bytes()]);
            assert!(
                confirmations
                    .record_confirmation(credential_key, registry_state.observe())
                    .is_some()
            );
        }
        assert_eq!(confirmations.said.len(), BOUND);
        let last = prints.fingerprint(&[&BOUND.to_be_bytes()]);
        assert!(
            confirmations
                .current_confirmation(&last, &registry_state)
                .is_none()
        );
    }
}
