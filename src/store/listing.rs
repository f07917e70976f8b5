//! The directories of the store: their entries, and when they last changed.

use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use crate::oci::{Digest, RepositoryName};
use crate::store::layout;
use crate::store::open::{OpenStore, StoreError};

/// When a directory last changed, by the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeTime {
    seconds: i64,
    nanoseconds: u64,
}

impl ChangeTime {
    fn of(stat: &Stat) -> Self {
        Self {
            seconds: stat.st_mtime,
            nanoseconds: stat.st_mtime_nsec,
        }
    }

    /// Whether it lies so long before `now` that a later change has another time, even where the
    /// store counts whole seconds.
    pub fn is_settled_at(&self, now: SystemTime) -> bool {
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let settled = now.saturating_sub(Duration::from_secs(2)).as_secs();
        i64::try_from(settled).is_ok_and(|settled| self.seconds < settled)
    }
}

/// The entries of a directory in which repositories may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryListing {
    /// `None` if the directory does not exist.
    pub changed: Option<ChangeTime>,
    /// Whether the directory is that of a repository.
    pub is_repository: bool,
    /// The last components of names that may be repositories, or have some below. Sorted.
    pub parts: Vec<String>,
}

impl DirectoryListing {
    /// Of a directory that does not exist, or cannot be read.
    pub(crate) fn empty() -> Self {
        Self {
            changed: None,
            is_repository: false,
            parts: Vec::new(),
        }
    }
}

impl OpenStore<'_> {
    /// The names in a directory, sorted; empty if it does not exist.
    pub(crate) fn entries(&self, directory: &str) -> Result<Vec<String>, StoreError> {
        match self.open_directory(directory)? {
            Some(opened) => names_in(opened, directory),
            None => Ok(Vec::new()),
        }
    }

    /// Lists the directory of the repositories whose names begin with `name`; all if it is empty.
    pub fn list_repositories(&self, name: &str) -> Result<DirectoryListing, StoreError> {
        let directory = layout::below_repositories(name);
        let Some(opened) = self.open_directory(&directory)? else {
            return Ok(DirectoryListing::empty());
        };
        // Before the entries, so that a later change does not go unnoticed.
        let stat = rustix::fs::fstat(&opened).map_err(StoreError::call("stat", &directory))?;
        let mut parts = names_in(opened, &directory)?;
        let is_repository = parts.iter().any(|part| part == layout::LAYERS);
        // Names that begin with an underscore are the registry's own directories.
        parts.retain(|part| RepositoryName::parse(part).is_ok());
        Ok(DirectoryListing {
            changed: Some(ChangeTime::of(&stat)),
            is_repository,
            parts,
        })
    }

    /// When the directory of the repositories whose names begin with `name` last changed; `None` if
    /// it does not exist.
    pub fn repositories_changed(&self, name: &str) -> Result<Option<ChangeTime>, StoreError> {
        let stat = self.stat(&layout::below_repositories(name))?;
        Ok(stat.as_ref().map(ChangeTime::of))
    }

    /// Whether `repository` has a layer link of the digest, whatever is in it.
    pub fn has_link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        let stat = self.stat(&layout::layer_link(repository, digest))?;
        Ok(stat.is_some())
    }

    /// Describes a file or directory; `None` if it does not exist.
    pub(crate) fn stat(&self, path: &str) -> Result<Option<Stat>, StoreError> {
        let stat = || rustix::fs::statat(&self.directory, path, AtFlags::empty());
        match retry_on_intr(stat) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(StoreError::call("stat", path)(errno)),
        }
    }

    fn open_directory(&self, directory: &str) -> Result<Option<OwnedFd>, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let open = || rustix::fs::openat(&self.directory, directory, flags, Mode::empty());
        match retry_on_intr(open) {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(StoreError::call("open", directory)(errno)),
        }
    }
}

fn names_in(opened: OwnedFd, directory: &str) -> Result<Vec<String>, StoreError> {
    let listed = Dir::new(opened).map_err(StoreError::call("list", directory))?;
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry.map_err(StoreError::call("list", directory))?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => names.push(name.to_owned()),
        }
    }
    names.sort_unstable();
    Ok(names)
}
