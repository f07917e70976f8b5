//! For what the registry itself has vouched, and what it has refused.
//!
//! A voucher is what a judgement made here rests on: a token's header, which names the key that
//! signed it, or a login, each as the operator's files stand. Nothing is granted by a voucher of
//! which the registry has not said yes within seconds: it may not believe a key yet, or not any
//! more, that stands in its file. One that it has refused is left to it for a while.

use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::fingerprint::Fingerprint;
use crate::upstream::{Standing, Ticket};

/// How long the registry decides itself about a voucher that it has refused.
const REFUSAL_COUNTS_FOR: Duration = Duration::from_secs(60);
/// The most vouchers that are remembered. One that is not is asked about: that is always right.
const BOUND: usize = 16 * 1024;

/// What the registry said of vouchers.
#[derive(Debug)]
pub(super) struct Vouchers {
    said: DashMap<Fingerprint, Said>,
    yes_counts_for: Duration,
}

#[derive(Debug)]
enum Said {
    /// The ticket was taken before the registry was asked.
    Yes(Ticket),
    No(Instant),
}

impl Said {
    fn is_fresh(&self, yes_counts_for: Duration) -> bool {
        match self {
            Self::Yes(ticket) => ticket.age() < yes_counts_for,
            Self::No(at) => at.elapsed() < REFUSAL_COUNTS_FOR,
        }
    }
}

impl Vouchers {
    /// A yes counts for so long, and no longer than the registry stays the same.
    pub fn new(yes_counts_for: Duration) -> Self {
        Self {
            said: DashMap::new(),
            yes_counts_for,
        }
    }

    /// Whether the registry vouches, as far as is known.
    pub fn is_good(&self, voucher: &Fingerprint, standing: &Standing) -> bool {
        self.said.get(voucher).is_some_and(|said| {
            let is_yes = matches!(&*said, Said::Yes(ticket) if standing.is_unchanged_since(ticket));
            is_yes && said.is_fresh(self.yes_counts_for)
        })
    }

    /// Whether the registry refused so lately that it decides itself.
    pub fn is_in_dispute(&self, voucher: &Fingerprint) -> bool {
        let said = self.said.get(voucher);
        said.is_some_and(|said| matches!(*said, Said::No(_)) && said.is_fresh(self.yes_counts_for))
    }

    /// The registry said yes to a question from after `ticket`; returns whether that counts.
    pub fn confirmed(&self, voucher: Fingerprint, ticket: Ticket) -> bool {
        self.make_room();
        let has_room = self.said.len() < BOUND;
        match self.said.entry(voucher) {
            // It was refused meanwhile, or a short while ago.
            Entry::Occupied(said)
                if matches!(said.get(), Said::No(_))
                    && said.get().is_fresh(self.yes_counts_for) =>
            {
                return false;
            }
            Entry::Occupied(mut said) => drop(said.insert(Said::Yes(ticket))),
            Entry::Vacant(place) if has_room => drop(place.insert(Said::Yes(ticket))),
            Entry::Vacant(_) => {}
        }
        true
    }

    /// The registry refused what is allowed here; returns whether that is news.
    pub fn refused(&self, voucher: Fingerprint) -> bool {
        self.make_room();
        let is_news = !self.is_in_dispute(&voucher);
        if self.said.len() < BOUND || self.said.contains_key(&voucher) {
            self.said.insert(voucher, Said::No(Instant::now()));
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
    use super::super::fingerprint::Fingerprints;
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn fresh() -> (Vouchers, Standing, Fingerprint) {
        let voucher = Fingerprints::new().unwrap().of(&[b"voucher"]);
        (Vouchers::new(TTL), Standing::default(), voucher)
    }

    #[test]
    fn a_voucher_is_good_from_the_registrys_yes_on_and_only_itself() {
        let (vouchers, standing, voucher) = fresh();
        let other = Fingerprints::new().unwrap().of(&[b"voucher"]);
        assert!(!vouchers.is_good(&voucher, &standing));
        assert!(vouchers.confirmed(voucher, standing.ticket()));
        assert!(vouchers.is_good(&voucher, &standing));
        assert!(!vouchers.is_good(&other, &standing));
    }

    #[test]
    fn a_yes_counts_for_its_time_and_while_the_registry_stays_the_same() {
        let (mut vouchers, standing, voucher) = fresh();
        assert!(vouchers.confirmed(voucher, standing.ticket()));
        standing.unreachable();
        assert!(!vouchers.is_good(&voucher, &standing));
        assert!(vouchers.confirmed(voucher, standing.ticket()));
        vouchers.yes_counts_for = Duration::ZERO;
        assert!(!vouchers.is_good(&voucher, &standing));
    }

    #[test]
    fn a_refusal_counts_for_a_minute_whatever_was_asked_meanwhile() {
        let (vouchers, standing, voucher) = fresh();
        let ticket = standing.ticket();
        assert!(vouchers.refused(voucher));
        assert!(!vouchers.refused(voucher));
        assert!(vouchers.is_in_dispute(&voucher));
        assert!(!vouchers.confirmed(voucher, ticket));
        assert!(!vouchers.is_good(&voucher, &standing));
        let long_ago = Instant::now().checked_sub(REFUSAL_COUNTS_FOR).unwrap();
        vouchers.said.insert(voucher, Said::No(long_ago));
        assert!(!vouchers.is_in_dispute(&voucher));
        assert!(vouchers.confirmed(voucher, standing.ticket()));
        assert!(vouchers.is_good(&voucher, &standing));
    }

    #[test]
    fn the_memory_is_bounded_and_what_it_does_not_hold_is_not_good() {
        let (vouchers, standing, _) = fresh();
        let prints = Fingerprints::new().unwrap();
        for number in 0..=BOUND {
            let voucher = prints.of(&[&number.to_be_bytes()]);
            assert!(vouchers.confirmed(voucher, standing.ticket()));
        }
        assert_eq!(vouchers.said.len(), BOUND);
        let last = prints.of(&[&BOUND.to_be_bytes()]);
        assert!(!vouchers.is_good(&last, &standing));
    }
}
