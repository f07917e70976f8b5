//! The index: which repositories are known to hold a digest.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::oci::{Digest, RepositoryName};

/// The most links in the index; beyond, the holders of the least used digests are dropped.
pub(crate) const MOST_LINKS: u64 = 1_000_000;
/// The most holders of one digest: those recorded last.
const MOST_HOLDERS: usize = 4096;
/// Locks for changes of holders: two digests may share one.
const ROWS: usize = 64;
/// Up to so many names are kept without a check whether they are still in use.
const FEW_NAMES: usize = 1024;

/// A name that is stored once, however many digests its repository holds.
pub(crate) type SharedName = Arc<RepositoryName>;

/// Digests and their holders, bounded by the number of links.
#[derive(Debug)]
pub(crate) struct Index {
    links: Cache<[u8; 32], Holders, LinkTable>,
    rows: [Mutex<()>; ROWS],
    names: Mutex<NameTable>,
}

/// The holders of one digest: most layers have only one.
#[derive(Debug, Clone)]
enum Holders {
    One(SharedName),
    Many(Arc<[SharedName]>),
}

/// Weighs an entry by its number of links.
#[derive(Debug, Clone)]
struct LinkTable;

#[derive(Debug, Default)]
struct NameTable {
    all: HashSet<SharedName>,
    /// The number of names at which unused ones are dropped.
    sweep_at: usize,
}

impl Weighter<[u8; 32], Holders> for LinkTable {
    fn weight(&self, _: &[u8; 32], holders: &Holders) -> u64 {
        holders.all().len() as u64
    }
}

impl Holders {
    fn all(&self) -> &[SharedName] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }

    fn of(names: Vec<SharedName>) -> Option<Self> {
        match &*names {
            [] => None,
            [name] => Some(Self::One(name.clone())),
            _ => Some(Self::Many(names.into())),
        }
    }
}

impl Index {
    /// Holds at most so many links.
    pub(crate) fn new(most: u64) -> Self {
        // The table grows with its entries; this is only its initial size.
        let expected = usize::try_from(most / 16).unwrap_or(usize::MAX);
        Self {
            links: Cache::with_weighter(expected, most, LinkTable),
            rows: std::array::from_fn(|_| Mutex::new(())),
            names: Mutex::default(),
        }
    }

    /// Records that a repository holds a digest.
    pub(crate) fn learn(&self, repository: &RepositoryName, digest: &Digest) {
        let key = digest.bytes();
        let _row = self.row(&key);
        let holders = self.links.get(&key);
        let holders = holders.as_ref().map_or(&[][..], Holders::all);
        if holders.iter().any(|name| **name == *repository) {
            return;
        }
        let first = (holders.len() + 1).saturating_sub(MOST_HOLDERS);
        let mut names = holders[first..].to_vec();
        names.push(self.name(repository));
        if let Some(holders) = Holders::of(names) {
            self.links.insert(key, holders);
        }
    }

    /// Forgets that a repository holds a digest.
    pub(crate) fn forget(&self, repository: &RepositoryName, digest: &Digest) {
        let key = digest.bytes();
        let _row = self.row(&key);
        let Some(holders) = self.links.get(&key) else {
            return;
        };
        let others = holders.all().iter().filter(|name| ***name != *repository);
        match Holders::of(others.cloned().collect()) {
            Some(holders) => self.links.insert(key, holders),
            None => drop(self.links.remove(&key)),
        }
    }

    /// The repositories that hold a digest.
    pub(crate) fn holders(&self, digest: &Digest) -> Vec<SharedName> {
        let holders = self.links.get(&digest.bytes());
        holders
            .map(|holders| holders.all().to_vec())
            .unwrap_or_default()
    }

    /// The number of links in the index.
    pub(crate) fn links(&self) -> u64 {
        self.links.weight()
    }

    /// Locks the holders of one digest.
    fn row(&self, key: &[u8; 32]) -> MutexGuard<'_, ()> {
        // Digests are uniformly distributed, in every byte.
        self.rows[usize::from(key[0]) % ROWS].lock()
    }

    fn name(&self, repository: &RepositoryName) -> SharedName {
        self.names.lock().get(repository)
    }
}

impl NameTable {
    fn get(&mut self, repository: &RepositoryName) -> SharedName {
        if let Some(name) = self.all.get(repository) {
            return name.clone();
        }
        if self.all.len() >= self.sweep_at.max(FEW_NAMES) {
            self.all.retain(|name| Arc::strong_count(name) > 1);
            self.sweep_at = self.all.len() * 2;
        }
        let name = Arc::new(repository.clone());
        self.all.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    fn digest(number: u64) -> Digest {
        // Uniformly distributed, as hashes are.
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Digest::parse(&format!("sha256:{spread:016x}{number:048x}")).unwrap()
    }

    fn holders(index: &Index, number: u64) -> Vec<String> {
        let found = index.holders(&digest(number));
        found.iter().map(|name| name.as_str().to_owned()).collect()
    }

    #[test]
    fn a_recorded_link_is_known_until_it_is_forgotten() {
        let index = Index::new(100);
        for repository in ["a", "b", "a", "c"] {
            index.learn(&name(repository), &digest(1));
        }
        assert_eq!(holders(&index, 1), ["a", "b", "c"]);
        assert_eq!(index.links(), 3);
        index.forget(&name("b"), &digest(1));
        index.forget(&name("d"), &digest(1));
        assert_eq!(holders(&index, 1), ["a", "c"]);
        index.forget(&name("a"), &digest(1));
        index.forget(&name("c"), &digest(1));
        assert!(holders(&index, 1).is_empty());
        assert_eq!(index.links(), 0);
        index.forget(&name("a"), &digest(2));
    }

    #[test]
    fn beyond_the_bound_the_least_used_go() {
        let index = Index::new(1000);
        let often = 5;
        index.learn(&name("often"), &digest(often));
        for number in 1000..6000 {
            index.learn(&name("once"), &digest(number));
            assert_eq!(holders(&index, often), ["often"], "{number}");
        }
        assert!(index.links() <= 1000);
        assert!(index.links() > 500);
    }

    /// The resident memory of this process, in bytes.
    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size()
    }

    /// Set in a process that runs only the test below.
    const ALONE: &str = "CROSSMOUNT_TEST_ALONE";

    #[test]
    fn a_million_links_take_less_than_150_mb() {
        if std::env::var_os(ALONE).is_some() {
            return fill_and_measure();
        }
        // Other tests use memory too, so it runs in a process of its own.
        let test = std::thread::current().name().unwrap().to_owned();
        let alone = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &test])
            .env(ALONE, "1")
            .output()
            .unwrap();
        assert!(alone.status.success(), "{alone:?}");
    }

    fn fill_and_measure() {
        let before = resident();
        let index = Index::new(MOST_LINKS);
        // More than the bound: dropped links must not take memory. Most layers have one holder, one
        // in a hundred has ten.
        for number in 0..1_200_000 {
            let holders = if number % 100 == 0 { 10 } else { 1 };
            for holder in 0..holders {
                let repository = name(&format!("team-{}/image-{holder}", number % 1000));
                index.learn(&repository, &digest(number));
            }
        }
        let links = index.links();
        assert!((900_000..=MOST_LINKS).contains(&links), "{links}");
        let used = resident().saturating_sub(before);
        assert!((10_000_000..150_000_000).contains(&used), "{used}");
    }

    #[test]
    fn of_very_many_holders_the_last_are_known() {
        let index = Index::new(MOST_LINKS);
        for number in 0..=MOST_HOLDERS {
            index.learn(&name(&format!("r{number}")), &digest(1));
        }
        let found = holders(&index, 1);
        assert_eq!(found.len(), MOST_HOLDERS);
        assert_eq!(
            (&*found[0], found.last()),
            ("r1", Some(&format!("r{MOST_HOLDERS}")))
        );
    }

    #[test]
    fn unused_names_do_not_stay() {
        let index = Index::new(10);
        for number in 0..20_000 {
            index.learn(&name(&format!("repository/{number}")), &digest(number));
        }
        let names = index.names.lock();
        assert!(names.all.len() <= FEW_NAMES + 10, "{}", names.all.len());
    }
}
