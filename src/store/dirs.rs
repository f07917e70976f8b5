//! The parent directories of a link: created if missing, and synced before a mount is confirmed.

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::config::Durability;
use crate::store::open::{OpenStore, StoreError};

/// The directory above all repositories. The registry creates it; crossmount never does.
const REPOSITORIES: &str = "repositories";

impl OpenStore<'_> {
    /// Creates a directory and its missing parents.
    ///
    /// The deepest one is tried first: in an existing repository that is the only call. The mode
    /// is the one the registry uses, 0777 less the umask (`driver/filesystem/driver.go`).
    pub(crate) fn create_directories(&self, path: &str) -> Result<(), StoreError> {
        let made = match self.mkdir(path) {
            Err(Errno::NOENT) if parent(path) != REPOSITORIES => {
                self.create_directories(parent(path))?;
                self.mkdir(path)
            }
            done => done,
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(StoreError::call("mkdir", path)(errno)),
        }
    }

    fn mkdir(&self, path: &str) -> Result<(), Errno> {
        let unsynced = &self.filesystem.unsynced;
        let is_promised = self.filesystem.durability == Durability::Full;
        if is_promised {
            unsynced.begin(path);
        }
        let mode = Mode::from_raw_mode(0o777);
        let done = retry_on_intr(|| rustix::fs::mkdirat(&self.directory, path, mode));
        if is_promised {
            unsynced.end(path, done.is_ok());
        }
        done
    }

    /// Syncs the entries of the link's parent directories that are not synced yet, by any creator.
    pub(crate) fn sync_made(&self, leaf: &str) -> Result<(), StoreError> {
        let unsynced = &self.filesystem.unsynced;
        for directory in ancestry(leaf) {
            if let Some(mark) = unsynced.get(directory) {
                self.sync_directory(parent(directory))?;
                unsynced.synced(directory, mark);
            }
        }
        if unsynced.has_forgotten() {
            return self.sync_ancestry(leaf);
        }
        Ok(())
    }

    /// Runs a commit of the filesystem's log, and records the entries of the link's parent
    /// directories as synced: the commit includes all that were made before it.
    pub(crate) fn commit_made(
        &self,
        leaf: &str,
        commit: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let unsynced = &self.filesystem.unsynced;
        let mark = |directory| Some((directory, unsynced.get(directory)?));
        let marked: Vec<_> = ancestry(leaf).filter_map(mark).collect();
        commit()?;
        for (directory, mark) in marked {
            unsynced.synced(directory, mark);
        }
        Ok(())
    }

    /// Syncs the entries of every directory from a link's own up to the repositories.
    pub(crate) fn sync_ancestry(&self, leaf: &str) -> Result<(), StoreError> {
        self.sync_directory(leaf)?;
        ancestry(leaf).try_for_each(|directory| self.sync_directory(parent(directory)))
    }

    pub(crate) fn sync_directory(&self, path: &str) -> Result<(), StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            retry_on_intr(|| rustix::fs::openat(&self.directory, path, flags, Mode::empty()))
                .map_err(StoreError::call("open", path))?;
        retry_on_intr(|| rustix::fs::fsync(&directory)).map_err(StoreError::call("fsync", path))
    }
}

/// The directory and its parents below `repositories`, deepest first.
fn ancestry(leaf: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(leaf), |path| Some(parent(path)))
        .take_while(|path| *path != REPOSITORIES && !path.is_empty())
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::Fixture;
    use crate::store::unsynced_dirs::SETTLED;

    #[test]
    fn the_ancestry_ends_below_the_repositories() {
        let all: Vec<_> = ancestry("repositories/a/b/_layers").collect();
        assert_eq!(
            all,
            [
                "repositories/a/b/_layers",
                "repositories/a/b",
                "repositories/a"
            ]
        );
    }

    #[test]
    fn a_created_directory_stays_marked_until_a_sync() {
        let fixture = Fixture::new();
        let (one, other) = (
            "repositories/new/_layers/one",
            "repositories/new/_layers/other",
        );
        let unsynced = &fixture.store.unsynced;
        let done = fixture.store.on_open(|store| {
            store.create_directories(one)?;
            assert!(unsynced.get("repositories/new").is_some());
            store.create_directories(other)?;
            store.sync_made(other)?;
            assert!(unsynced.get("repositories/new").is_none());
            assert!(unsynced.get(one).is_some());
            store.sync_made(one)?;
            assert!(unsynced.is_empty());
            store.create_directories(one)
        });
        assert!(done.is_ok());
        assert!(unsynced.is_empty());
    }

    #[test]
    fn after_directories_were_dropped_all_above_a_link_are_synced() {
        let fixture = Fixture::new();
        let sync = || {
            let absent = "repositories/absent/_layers/one";
            fixture.store.on_open(|store| store.sync_made(absent))
        };
        assert!(sync().is_ok());
        let made = fixture
            .store
            .on_open(|store| store.create_directories("repositories/new/_layers/one"));
        assert!(made.is_ok());
        fixture.store.unsynced.keep_within(0, SETTLED);
        assert!(fixture.store.unsynced.is_empty());
        assert!(sync().is_err());
    }

    #[test]
    fn the_repositories_themselves_are_never_made() {
        let fixture = Fixture::new();
        std::fs::remove_dir_all(fixture.path("repositories")).unwrap();
        let failed = fixture
            .store
            .on_open(|store| store.create_directories("repositories/new/_layers"));
        assert!(failed.is_err());
        assert!(!fixture.path("repositories").exists());
    }
}
