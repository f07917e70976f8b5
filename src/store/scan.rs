//! Every repository's links, one directory after another.
//!
//! Repositories come in a fixed order, so that a walk can go on where it stopped. A directory that
//! cannot be read is passed over. Old temporary files of our own are removed on the way.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::oci::{Digest, RepositoryName};
use crate::store::link;
use crate::store::open::{OpenStore, StoreError};

/// Where repositories are (`registry/storage/paths.go`).
const REPOSITORIES: &str = "repositories";
/// Where a repository's links are.
const LINKS: &str = "_layers/sha256";
/// A temporary file of ours that is older was left behind by a process that was killed.
const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);
/// After so many directories without an answer it is the disk that gives none.
const MOST_SILENT: usize = 16;

/// What a walk comes by.
#[derive(Debug)]
pub enum ScanEvent<'a> {
    /// A layer's directory, with a link or without.
    Link {
        /// Whose.
        repository: &'a RepositoryName,
        /// Of what.
        digest: &'a Digest,
        /// Whether the link is there.
        is_there: bool,
    },
    /// All links of a repository were seen.
    Repository(&'a RepositoryName),
    /// A directory was looked into, in which repositories may be.
    Folder,
    /// A directory cannot be read, for another reason than absence; the walk goes on behind it.
    Unreadable(&'a StoreError),
}

/// What becomes of files that a killed process of ours left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleTempFiles {
    /// They are removed.
    Remove,
    /// They stay: nothing is to be written.
    Leave,
}

/// One walk.
struct Scan<'a, 'v> {
    store: &'a OpenStore<'a>,
    after: Option<&'a str>,
    abandoned: StaleTempFiles,
    visit: &'a mut Visitor<'v>,
    /// Directories that gave no answer since the last that did.
    silent: usize,
    /// Why it goes no further.
    fault: Option<StoreError>,
}

/// Who is told; may say that it is enough.
pub type Visitor<'a> = dyn FnMut(ScanEvent<'_>) -> ControlFlow<()> + 'a;

impl OpenStore<'_> {
    /// Walks through all repositories that come after `after`.
    ///
    /// Returns whether it came to the end.
    ///
    /// [`StoreError`] where the disk gave no answer about the directory of all repositories, or about
    /// many directories one after another.
    pub fn scan(
        &self,
        after: Option<&RepositoryName>,
        abandoned: StaleTempFiles,
        visit: &mut Visitor<'_>,
    ) -> Result<bool, StoreError> {
        let parts = self.entries(REPOSITORIES)?;
        let mut walk = Scan {
            store: self,
            after: after.map(RepositoryName::as_str),
            abandoned,
            visit,
            silent: 0,
            fault: None,
        };
        let ended = walk.through("", parts).is_continue();
        match walk.fault {
            Some(fault) => Err(fault),
            None => Ok(ended),
        }
    }

    /// The next walk comes by again where this one could not.
    fn remove_if_stale(&self, path: &str) {
        let Ok(about) = rustix::fs::statat(&self.directory, path, AtFlags::SYMLINK_NOFOLLOW) else {
            return;
        };
        let written = u64::try_from(about.st_mtime).unwrap_or_default();
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(written);
        let age = SystemTime::now()
            .duration_since(written)
            .unwrap_or_default();
        let is_file = FileType::from_raw_mode(about.st_mode) == FileType::RegularFile;
        if is_file && age > ABANDONED_AFTER {
            match rustix::fs::unlinkat(&self.directory, path, AtFlags::empty()) {
                Ok(()) => tracing::info!(path, "a temporary file that was left behind is removed"),
                Err(errno) => tracing::debug!(path, %errno, "a temporary file stays"),
            }
        }
    }

    /// The names in a directory, in order; none where it is gone.
    pub(crate) fn entries(&self, directory: &str) -> Result<Vec<String>, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let open = || rustix::fs::openat(&self.directory, directory, flags, Mode::empty());
        let opened = match retry_on_intr(open) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            Err(errno) => return Err(StoreError::call("open", directory)(errno)),
        };
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
}

impl Scan<'_, '_> {
    /// The repositories whose names begin with `name`, which is one itself or only a part; `parts`
    /// are in its directory.
    fn through(&mut self, name: &str, parts: Vec<String>) -> ControlFlow<()> {
        (self.visit)(ScanEvent::Folder)?;
        let is_repository = parts.iter().any(|part| part == "_layers");
        if is_repository
            && self.after.is_none_or(|after| order(name) > order(after))
            && let Ok(repository) = RepositoryName::parse(name)
        {
            self.repository(&repository)?;
        }
        for part in parts {
            let below = if name.is_empty() {
                part
            } else {
                format!("{name}/{part}")
            };
            // Names with an underscore in front are the registry's own directories.
            if RepositoryName::parse(&below).is_ok() && !self.is_behind(&below) {
                let parts = self.entries(&join(REPOSITORIES, &below))?;
                self.through(&below, parts)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether everything below a name was seen by an earlier walk.
    fn is_behind(&self, name: &str) -> bool {
        self.after.is_some_and(|after| {
            let within = after.strip_prefix(name);
            let is_part = within.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            !is_part && order(name) < order(after)
        })
    }

    fn repository(&mut self, repository: &RepositoryName) -> ControlFlow<()> {
        let links = join(REPOSITORIES, &format!("{repository}/{LINKS}"));
        for hex in self.entries(&links)? {
            let Ok(digest) = Digest::parse(&format!("sha256:{hex}")) else {
                continue;
            };
            let is_there = self.scan_directory(&join(&links, &hex))?;
            (self.visit)(ScanEvent::Link {
                repository,
                digest: &digest,
                is_there,
            })?;
        }
        (self.visit)(ScanEvent::Repository(repository))
    }

    /// Whether a layer's directory has a link. Removes what was left behind there.
    fn scan_directory(&mut self, directory: &str) -> ControlFlow<(), bool> {
        let entries = self.entries(directory)?;
        if self.abandoned == StaleTempFiles::Remove {
            for name in entries.iter().filter(|name| link::is_temporary(name)) {
                self.store.remove_if_stale(&join(directory, name));
            }
        }
        ControlFlow::Continue(entries.iter().any(|name| name == link::NAME))
    }

    /// The names in a directory; none, and a word about it, where it cannot be read.
    fn entries(&mut self, directory: &str) -> ControlFlow<(), Vec<String>> {
        match self.store.entries(directory) {
            Ok(names) => {
                self.silent = 0;
                ControlFlow::Continue(names)
            }
            Err(error) => {
                // One that is not this user's is nobody's fault, however many there are.
                self.silent += usize::from(!error.is_permission_error());
                if error.is_stale() || self.silent >= MOST_SILENT {
                    self.fault = Some(error);
                    return ControlFlow::Break(());
                }
                (self.visit)(ScanEvent::Unreadable(&error))?;
                ControlFlow::Continue(Vec::new())
            }
        }
    }
}

/// Compares names part by part, as the directories are walked through.
fn order(name: &str) -> impl Ord + '_ {
    name.split('/').collect::<Vec<_>>()
}

fn join(directory: &str, name: &str) -> String {
    if name.is_empty() {
        return directory.to_owned();
    }
    format!("{directory}/{name}")
}

#[cfg(test)]
mod tests;
