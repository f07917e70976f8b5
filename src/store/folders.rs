//! The folders above a link: made where they are missing, synced before a link is vouched for.

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::filesystem::{OpenStore, StoreError};

/// The folder above all repositories. It is the registry's own: never made here.
const REPOSITORIES: &str = "repositories";

impl OpenStore<'_> {
    /// Makes a folder and those above it that are missing; returns what was made, deepest last.
    ///
    /// The deepest is tried first: in an existing repository that is the only call. The mode
    /// is the registry's own, 0777 less the process's umask (`driver/filesystem/driver.go`).
    pub(super) fn make_folders(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let mut made = Vec::new();
        self.make_folder(path, &mut made)?;
        Ok(made)
    }

    fn make_folder(&self, path: &str, made: &mut Vec<String>) -> Result<(), StoreError> {
        match self.mkdir(path) {
            Err(Errno::NOENT) if parent(path) != REPOSITORIES => {
                self.make_folder(parent(path), made)?;
                match self.mkdir(path) {
                    Ok(()) => made.push(path.to_owned()),
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(StoreError::call("mkdir", path)(errno)),
                }
            }
            Ok(()) => made.push(path.to_owned()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(StoreError::call("mkdir", path)(errno)),
        }
        Ok(())
    }

    fn mkdir(&self, path: &str) -> Result<(), Errno> {
        let unsynced = &self.filesystem.unsynced;
        unsynced.mark(path);
        let mode = Mode::from_raw_mode(0o777);
        let done = retry_on_intr(|| rustix::fs::mkdirat(&self.folder, path, mode));
        if done.is_err() {
            unsynced.unmark(path);
        }
        done
    }

    /// Syncs the entries of the folders that were made for a link, by this mount or another one.
    pub(super) fn sync_made(&self, leaf: &str, made: &[String]) -> Result<(), StoreError> {
        let unsynced = &self.filesystem.unsynced;
        for folder in ancestry(leaf) {
            if made.iter().any(|path| path == folder) {
                self.sync_folder(parent(folder))?;
                unsynced.unmark(folder);
            } else if unsynced.is_marked(folder) {
                self.sync_folder(parent(folder))?;
            }
        }
        Ok(())
    }

    /// Forgets folders whose entries nobody promised to sync.
    pub(super) fn leave_unsynced(&self, made: &[String]) {
        for path in made {
            self.filesystem.unsynced.unmark(path);
        }
    }

    /// Syncs the entries of every folder from a link's own up to the repositories.
    pub(super) fn sync_ancestry(&self, leaf: &str) -> Result<(), StoreError> {
        self.sync_folder(leaf)?;
        ancestry(leaf).try_for_each(|folder| self.sync_folder(parent(folder)))
    }

    /// Syncs the entries of one folder.
    pub(super) fn sync_folder(&self, path: &str) -> Result<(), StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = retry_on_intr(|| rustix::fs::openat(&self.folder, path, flags, Mode::empty()))
            .map_err(StoreError::call("open", path))?;
        retry_on_intr(|| rustix::fs::fsync(&folder)).map_err(StoreError::call("fsync", path))
    }
}

/// The folder itself and those above it, below the repositories, deepest first.
fn ancestry(leaf: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(leaf), |path| Some(parent(path)))
        .take_while(|path| *path != REPOSITORIES && !path.is_empty())
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

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
    fn what_is_made_stays_marked_until_it_is_synced() {
        let fixture = Fixture::new();
        let leaf = "repositories/new/_layers";
        fixture
            .store
            .on_open(|store| {
                let made = store.make_folders(leaf)?;
                assert_eq!(made, ["repositories/new", "repositories/new/_layers"]);
                assert!(store.filesystem.unsynced.is_marked("repositories/new"));
                store.sync_made(leaf, &made)?;
                assert!(store.filesystem.unsynced.is_empty());
                assert_eq!(store.make_folders(leaf)?, Vec::<String>::new());
                assert!(store.filesystem.unsynced.is_empty());
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_repositories_themselves_are_never_made() {
        let fixture = Fixture::new();
        std::fs::remove_dir_all(fixture.path("repositories")).unwrap();
        let failed = fixture
            .store
            .on_open(|store| store.make_folders("repositories/new/_layers"));
        assert!(failed.is_err());
        assert!(!fixture.path("repositories").exists());
    }
}
