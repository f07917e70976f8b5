//! What was deleted on purpose.

use std::time::{Duration, Instant};

use dashmap::DashMap;

use crate::oci::{Digest, RepositoryName};

/// How long a HEAD brings nothing back that was deleted.
const BARRED_FOR: Duration = Duration::from_secs(60 * 60);
/// Deletions that are remembered; beyond, everything is barred until some are over.
const BOUND: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Bars(DashMap<(RepositoryName, [u8; 32]), Instant>);

impl Bars {
    pub fn set(&self, repository: &RepositoryName, digest: &Digest) {
        if self.0.len() >= BOUND {
            self.0.retain(|_, since| since.elapsed() < BARRED_FOR);
        }
        if self.0.len() < BOUND {
            let deleted = (repository.clone(), digest.bytes());
            self.0.insert(deleted, Instant::now());
        }
    }

    pub fn is_set(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        if self.0.is_empty() {
            return false;
        }
        // Whoever deletes more than can be remembered finds nothing brought back at all.
        let is_full = self.0.len() >= BOUND;
        let deleted = (repository.clone(), digest.bytes());
        let since = self.0.get(&deleted).map(|since| since.elapsed());
        is_full || since.is_some_and(|since| since < BARRED_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        Digest::parse(&format!("sha256:{number:064x}")).unwrap()
    }

    #[test]
    fn what_was_deleted_is_barred_in_its_repository_alone() {
        let (bars, name) = (Bars::default(), |text| RepositoryName::parse(text).unwrap());
        bars.set(&name("a"), &digest(1));
        assert!(bars.is_set(&name("a"), &digest(1)));
        assert!(!bars.is_set(&name("b"), &digest(1)));
        assert!(!bars.is_set(&name("a"), &digest(2)));
        let old = Instant::now().checked_sub(BARRED_FOR).unwrap();
        bars.0.insert((name("a"), digest(1).bytes()), old);
        assert!(!bars.is_set(&name("a"), &digest(1)));
    }

    #[test]
    fn more_than_can_be_remembered_bars_everything() {
        let (bars, name) = (Bars::default(), RepositoryName::parse("a").unwrap());
        for number in 0..=BOUND {
            bars.set(&name, &digest(number));
        }
        assert_eq!(bars.0.len(), BOUND);
        assert!(bars.is_set(&name, &digest(BOUND + 1)));
    }
}
