//! What arrived a short while ago.
//!
//! A layer may arrive after the registry's 404 and before the HEAD looks at the uploads in flight.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::oci::RepositoryName;

/// For how long an arrival is known: no HEAD is held for longer.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// The most layers whose arrivals are known.
const MOST_LAYERS: usize = 4096;
/// The most repositories of each: the last ones.
const MOST_OF_LAYER: usize = 16;

/// Layers that came into repositories.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    of_layer: HashMap<[u8; 32], Vec<Arrival>>,
}

/// A layer came into a repository.
#[derive(Debug)]
struct Arrival {
    at: Instant,
    repository: Arc<RepositoryName>,
}

impl Arrivals {
    pub(super) fn record(&mut self, repository: &RepositoryName, digest: [u8; 32]) {
        if self.of_layer.len() >= MOST_LAYERS {
            let is_new = |arrival: &Arrival| arrival.at.elapsed() < KEPT_FOR;
            self.of_layer
                .retain(|_, arrivals| arrivals.last().is_some_and(is_new));
        }
        if self.of_layer.len() >= MOST_LAYERS {
            self.of_layer.clear();
        }
        let arrivals = self.of_layer.entry(digest).or_default();
        arrivals.retain(|arrival| *arrival.repository != *repository);
        if arrivals.len() >= MOST_OF_LAYER {
            arrivals.remove(0);
        }
        arrivals.push(Arrival {
            at: Instant::now(),
            repository: Arc::new(repository.clone()),
        });
    }

    /// The repositories in which a layer arrived since then.
    pub(super) fn since(
        &self,
        digest: &[u8; 32],
        since: Instant,
    ) -> impl Iterator<Item = &Arc<RepositoryName>> {
        let arrivals = self.of_layer.get(digest).map_or(&[][..], Vec::as_slice);
        let meanwhile = arrivals.iter().filter(move |arrival| arrival.at >= since);
        meanwhile.map(|arrival| &arrival.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_arrivals_are_kept() {
        let mut arrivals = Arrivals::default();
        let began = Instant::now();
        let name = |number: usize| RepositoryName::parse(&format!("a/{number}")).unwrap();
        for number in 0..100 {
            arrivals.record(&name(number), [0; 32]);
        }
        assert_eq!(arrivals.since(&[0; 32], began).count(), MOST_OF_LAYER);
        let last = arrivals.since(&[0; 32], began).last();
        assert_eq!(last.map(|it| (**it).clone()), Some(name(99)));
        for number in 0..2 * MOST_LAYERS as u64 {
            let mut digest = [1; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            arrivals.record(&name(1), digest);
        }
        assert!(arrivals.of_layer.len() <= MOST_LAYERS);
    }
}
