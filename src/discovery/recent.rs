//! The repositories that were pushed to or mounted from most recently.

use lru::LruCache;
use parking_lot::Mutex;

use crate::oci::RepositoryName;

/// The most repositories that are tracked: those used last.
const MOST: usize = 4096;

#[derive(Debug)]
pub(crate) struct RecentRepositories(Mutex<LruCache<RepositoryName, ()>>);

impl Default for RecentRepositories {
    fn default() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }
}

impl RecentRepositories {
    pub(crate) fn record_use(&self, repository: &RepositoryName) {
        let mut used = self.0.lock();
        if used.promote(repository) {
            return;
        }
        used.put(repository.clone(), ());
        if used.len() > MOST {
            used.pop_lru();
        }
    }

    /// The most recently used of the wanted repositories.
    pub(crate) fn latest(
        &self,
        most: usize,
        is_wanted: impl Fn(&RepositoryName) -> bool,
    ) -> Vec<RepositoryName> {
        let used = self.0.lock();
        let names = used.iter().map(|(name, ())| name);
        let wanted = names.filter(|name| is_wanted(name));
        wanted.take(most).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> RepositoryName {
        RepositoryName::parse(&format!("r{number}")).unwrap()
    }

    #[test]
    fn the_last_used_come_first() {
        let active = RecentRepositories::default();
        for number in [1, 2, 3, 1] {
            active.record_use(&name(number));
        }
        assert_eq!(active.latest(2, |_| true), [name(1), name(3)]);
        assert_eq!(
            active.latest(5, |found| *found != name(1)),
            [name(3), name(2)]
        );
    }

    #[test]
    fn the_number_is_bounded_and_the_last_stay() {
        let active = RecentRepositories::default();
        for number in 0..3 * MOST {
            active.record_use(&name(number));
        }
        assert!(active.0.lock().len() <= MOST);
        assert_eq!(active.latest(1, |_| true), [name(3 * MOST - 1)]);
    }
}
