//! For what the registry itself has vouched, and what it has refused.
//!
//! A voucher is what a judgement made here rests on: a token's header, which names the key that
//! signed it, or a login, each as the operator's files stand. Nothing is granted by a voucher of
//! which the registry has not said yes within seconds: it may not believe a key yet, or not any
//! more, that stands in its file. One that it has refused is left to it for a while.

use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::auth::lease::Lease;
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
            Self::Yes(validity) => validity.age() < yes_counts_for,
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
    pub fn yes(&self, voucher: &Fingerprint, standing: &RegistryState) -> Option<Lease> {
        let said = self.said.get(voucher)?;
        match &*said {
            Confirmation::Yes(validity) if said.is_fresh(self.yes_counts_for) => {
                validity.will_hold(standing).then(|| validity.clone())
            }
            _ => None,
        }
    }

    /// Whether the registry refused so lately that it decides itself.
    pub fn is_in_dispute(&self, voucher: &Fingerprint) -> bool {
        let said = self.said.get(voucher);
        said.is_some_and(|said| {
            matches!(*said, Confirmation::No(_)) && said.is_fresh(self.yes_counts_for)
        })
    }

    /// The registry said yes to a question from after `ticket`; `None` where that does not count.
    pub fn confirmed(&self, voucher: Fingerprint, ticket: Observation) -> Option<Lease> {
        let validity = Lease::new(ticket, self.yes_counts_for);
        self.make_room();
        let has_room = self.said.len() < BOUND;
        match self.said.entry(voucher) {
            // It was refused meanwhile, or a short while ago.
            Entry::Occupied(said)
                if matches!(said.get(), Confirmation::No(_))
                    && said.get().is_fresh(self.yes_counts_for) =>
            {
                return None;
            }
            Entry::Occupied(mut said) => {
                drop(said.insert(Confirmation::Yes(validity.clone())));
            }
            Entry::Vacant(place) if has_room => {
                drop(place.insert(Confirmation::Yes(validity.clone())));
            }
            Entry::Vacant(_) => {}
        }
        Some(validity)
    }

    /// There is doubt about a yes: neither grants that rest on it nor new ones may use it.
    pub fn forget_yes(&self, voucher: &Fingerprint) {
        let is_yes = |said: &Confirmation| match said {
            Confirmation::Yes(validity) => {
                validity.withdraw();
                true
            }
            Confirmation::No(_) => false,
        };
        self.said.remove_if(voucher, |_, said| is_yes(said));
    }

    /// The registry refused what is allowed here; returns whether that is news.
    pub fn refused(&self, voucher: Fingerprint) -> bool {
        self.forget_yes(&voucher);
        self.make_room();
        let is_news = !self.is_in_dispute(&voucher);
        if self.said.len() < BOUND || self.said.contains_key(&voucher) {
            self.said.insert(voucher, Confirmation::No(Instant::now()));
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
        let voucher = Fingerprints::new().unwrap().of(&[b"voucher"]);
        (
            UpstreamConfirmations::new(TTL),
            RegistryState::default(),
            voucher,
        )
    }

    #[test]
    fn a_voucher_is_good_from_the_registrys_yes_on_and_only_itself() {
        let (vouchers, standing, voucher) = fresh();
        let other = Fingerprints::new().unwrap().of(&[b"voucher"]);
        assert!(vouchers.yes(&voucher, &standing).is_none());
        assert!(vouchers.confirmed(voucher, standing.ticket()).is_some());
        assert!(vouchers.yes(&voucher, &standing).is_some());
        assert!(vouchers.yes(&other, &standing).is_none());
    }

    #[test]
    fn a_yes_counts_for_its_time_and_while_the_registry_stays_the_same() {
        let (mut vouchers, standing, voucher) = fresh();
        assert!(vouchers.confirmed(voucher, standing.ticket()).is_some());
        standing.unreachable();
        assert!(vouchers.yes(&voucher, &standing).is_none());
        assert!(vouchers.confirmed(voucher, standing.ticket()).is_some());
        vouchers.yes_counts_for = Duration::ZERO;
        assert!(vouchers.yes(&voucher, &standing).is_none());
    }

    #[test]
    fn a_refusal_counts_for_a_minute_whatever_was_asked_meanwhile() {
        let (vouchers, standing, voucher) = fresh();
        let ticket = standing.ticket();
        assert!(vouchers.refused(voucher));
        assert!(!vouchers.refused(voucher));
        assert!(vouchers.is_in_dispute(&voucher));
        assert!(vouchers.confirmed(voucher, ticket).is_none());
        assert!(vouchers.yes(&voucher, &standing).is_none());
        let long_ago = Instant::now().checked_sub(REFUSAL_COUNTS_FOR).unwrap();
        vouchers.said.insert(voucher, Confirmation::No(long_ago));
        assert!(!vouchers.is_in_dispute(&voucher));
        assert!(vouchers.confirmed(voucher, standing.ticket()).is_some());
        assert!(vouchers.yes(&voucher, &standing).is_some());
    }

    #[test]
    fn a_refusal_and_a_doubt_reach_the_grants_that_are_on_their_way() {
        let (vouchers, standing, voucher) = fresh();
        let first = vouchers.confirmed(voucher, standing.ticket()).unwrap();
        vouchers.forget_yes(&voucher);
        assert!(!first.holds(&standing));
        let second = vouchers.confirmed(voucher, standing.ticket()).unwrap();
        assert!(second.holds(&standing));
        assert!(vouchers.refused(voucher));
        assert!(!second.holds(&standing));
    }

    #[test]
    fn the_memory_is_bounded_and_what_it_does_not_hold_is_not_good() {
        let (vouchers, standing, _) = fresh();
        let prints = Fingerprints::new().unwrap();
        for number in 0..=BOUND {
            let voucher = prints.of(&[&number.to_be_bytes()]);
            assert!(vouchers.confirmed(voucher, standing.ticket()).is_some());
        }
        assert_eq!(vouchers.said.len(), BOUND);
        let last = prints.of(&[&BOUND.to_be_bytes()]);
        assert!(vouchers.yes(&last, &standing).is_none());
    }
}
