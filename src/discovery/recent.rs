//! Which repositories were pushed to or mounted from lately.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::oci::RepositoryName;

/// Repositories that are remembered: those used last.
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct RecentRepositories(Mutex<RepositoryUse>);

/// When each was used, by a count of all uses.
#[derive(Debug, Default)]
struct RepositoryUse {
    count: u64,
    last: HashMap<RepositoryName, u64>,
}

impl RecentRepositories {
    pub fn record_use(&self, repository: &RepositoryName) {
        let mut uses = self.0.lock();
        uses.count += 1;
        let now = uses.count;
        if let Some(last) = uses.last.get_mut(repository) {
            *last = now;
            return;
        }
        if uses.last.len() >= MOST {
            // Half of them at once, so that this is seldom.
            let mut times: Vec<_> = uses.last.values().copied().collect();
            times.sort_unstable();
            let middle = times[times.len() / 2];
            uses.last.retain(|_, last| *last > middle);
        }
        uses.last.insert(repository.clone(), now);
    }

    /// Those that were used last, of those that are wanted.
    pub fn latest(
        &self,
        most: usize,
        is_wanted: impl Fn(&RepositoryName) -> bool,
    ) -> Vec<RepositoryName> {
        let uses = self.0.lock();
        let mut found: Vec<_> = uses
            .last
            .iter()
            .filter(|(name, _)| is_wanted(name))
            .collect();
        found.sort_unstable_by_key(|(_, last)| std::cmp::Reverse(**last));
        let names = found.into_iter().map(|(name, _)| name.clone());
        names.take(most).collect()
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
    fn the_memory_is_bounded_and_keeps_the_last() {
        let active = RecentRepositories::default();
        for number in 0..3 * MOST {
            active.record_use(&name(number));
        }
        assert!(active.0.lock().last.len() <= MOST);
        assert_eq!(active.latest(1, |_| true), [name(3 * MOST - 1)]);
    }
}
