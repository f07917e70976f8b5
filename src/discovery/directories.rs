//! The directories of the store in which repositories are, as they were last listed.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use quick_cache::sync::Cache;

use crate::store::{DirectoryListing, OpenStore, StoreError};

/// The most directories that are kept: those used last.
const MOST: usize = 200_000;
/// How long a repository's own directory is not looked at again: repositories below another one
/// are rare.
const REPOSITORY_KEPT_FOR: Duration = Duration::from_secs(60);

/// Listings of directories, each kept while the directory is unchanged.
#[derive(Debug)]
pub(crate) struct RepositoryDirectories {
    listed: Cache<Box<str>, Arc<KnownDirectory>>,
}

#[derive(Debug)]
struct KnownDirectory {
    listing: Arc<DirectoryListing>,
    checked: Instant,
    /// A later change is seen in the directory's time.
    is_settled: bool,
}

impl Default for RepositoryDirectories {
    fn default() -> Self {
        Self {
            listed: Cache::new(MOST),
        }
    }
}

impl RepositoryDirectories {
    /// Records how the directory of the repositories whose names begin with `name` was listed.
    pub(crate) fn record(&self, name: &str, listing: Arc<DirectoryListing>) {
        let now = SystemTime::now();
        let changed = listing.changed;
        let known = KnownDirectory {
            listing,
            checked: Instant::now(),
            is_settled: changed.is_none_or(|changed| changed.is_settled_at(now)),
        };
        self.listed.insert(name.into(), Arc::new(known));
    }

    /// Lists the directory of the repositories whose names begin with `name`. One that did not
    /// change since it was listed costs one call, or none.
    pub(crate) fn list(
        &self,
        store: &OpenStore<'_>,
        name: &str,
    ) -> Result<Arc<DirectoryListing>, StoreError> {
        let known = self.listed.get(name);
        if let Some(listing) = known.as_ref().and_then(|known| known.recent_repository()) {
            return Ok(listing);
        }
        if let Some(known) = known.filter(|known| known.is_settled)
            && store.repositories_changed(name)? == known.listing.changed
        {
            if known.listing.is_repository {
                self.record(name, known.listing.clone());
            }
            return Ok(known.listing.clone());
        }
        let listing = Arc::new(store.list_repositories(name)?);
        self.record(name, listing.clone());
        Ok(listing)
    }
}

impl KnownDirectory {
    fn recent_repository(&self) -> Option<Arc<DirectoryListing>> {
        let is_kept = self.listing.is_repository && self.checked.elapsed() < REPOSITORY_KEPT_FOR;
        is_kept.then(|| self.listing.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::Fixture;

    fn parts(directories: &RepositoryDirectories, fixture: &Fixture, name: &str) -> Vec<String> {
        let listed = fixture.store.on_open(|store| directories.list(store, name));
        listed.unwrap().unwrap().parts.clone()
    }

    fn age(fixture: &Fixture, name: &str) {
        let path = fixture.path(&format!("repositories/{name}"));
        let past = SystemTime::now() - Duration::from_secs(60);
        let directory = std::fs::File::open(path).unwrap();
        directory.set_modified(past).unwrap();
    }

    #[test]
    fn a_new_repository_is_seen_at_once_however_recently_the_directory_was_listed() {
        let fixture = Fixture::new();
        let directories = RepositoryDirectories::default();
        fixture.write_link("team/a", "");
        assert_eq!(parts(&directories, &fixture, "team"), ["a"]);
        fixture.write_link("team/b", "");
        assert_eq!(parts(&directories, &fixture, "team"), ["a", "b"]);
        age(&fixture, "team");
        assert_eq!(parts(&directories, &fixture, "team"), ["a", "b"]);
        fixture.write_link("team/c", "");
        assert_eq!(parts(&directories, &fixture, "team"), ["a", "b", "c"]);
        assert!(parts(&directories, &fixture, "none").is_empty());
        fixture.write_link("none/a", "");
        assert_eq!(parts(&directories, &fixture, "none"), ["a"]);
    }

    #[test]
    fn an_unchanged_directory_is_not_listed_again() {
        let fixture = Fixture::new();
        let directories = RepositoryDirectories::default();
        fixture.write_link("team/a", "");
        age(&fixture, "team");
        parts(&directories, &fixture, "team");
        fixture.write_link("team/b", "");
        // As if nothing had changed.
        age(&fixture, "team");
        let changed = |name| {
            let changed = fixture
                .store
                .on_open(|store| store.repositories_changed(name));
            changed.unwrap().unwrap()
        };
        let known = directories.listed.get("team").unwrap();
        directories.record(
            "team",
            Arc::new(DirectoryListing {
                changed: changed("team"),
                ..(*known.listing).clone()
            }),
        );
        assert_eq!(parts(&directories, &fixture, "team"), ["a"]);
    }

    #[test]
    fn a_repositorys_own_directory_is_trusted_for_a_minute() {
        let fixture = Fixture::new();
        let directories = RepositoryDirectories::default();
        fixture.write_link("team/a", "");
        assert!(parts(&directories, &fixture, "team/a").is_empty());
        fixture.write_link("team/a/below", "");
        assert!(parts(&directories, &fixture, "team/a").is_empty());
    }
}
