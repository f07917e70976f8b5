//! The scan of every repository's links, directory by directory.
//!
//! Repositories come in a fixed order, so that a scan can resume at the repository after the last.
//! An unreadable directory is skipped. crossmount's own stale temporary files are removed.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::oci::{Digest, RepositoryName};
use crate::store::link;
use crate::store::open::{OpenStore, StoreError};

/// The directory of all repositories (`registry/storage/paths.go`).
const REPOSITORIES: &str = "repositories";
/// The directory of a repository's links, below the repository's own.
const LINKS: &str = "_layers/sha256";
/// An older temporary file of crossmount's was left behind by a process that was killed.
const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);
/// After so many unreadable directories in a row the disk itself has failed.
const MOST_SILENT: usize = 16;

/// What a scan meets.
#[derive(Debug)]
pub enum ScanEvent<'a> {
    /// A layer's directory, with or without a link.
    Link {
        repository: &'a RepositoryName,
        digest: &'a Digest,
        /// Whether the link exists.
        is_there: bool,
    },
    /// All links of this repository were visited.
    Repository(&'a RepositoryName),
    /// A directory that may hold repositories was listed.
    Folder,
    /// A directory cannot be read, for another reason than absence; the scan skips it.
    Unreadable(&'a StoreError),
}

/// What happens to temporary files that a killed process of crossmount's left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleTempFiles {
    Remove,
    /// They stay, because a dry run writes nothing.
    Leave,
}

/// One scan in progress.
struct Scan<'a, 'v> {
    store: &'a OpenStore<'a>,
    after: Option<&'a str>,
    stale_files: StaleTempFiles,
    visit: &'a mut Visitor<'v>,
    /// How many directories in a row could not be read.
    silent: usize,
    /// Why the scan ended early.
    fault: Option<StoreError>,
}

/// Receives each event; may break off the scan.
pub(crate) type Visitor<'a> = dyn FnMut(ScanEvent<'_>) -> ControlFlow<()> + 'a;

impl OpenStore<'_> {
    /// Scans all repositories that come after `after`, and returns whether it reached the end.
    ///
    /// Fails if the directory of all repositories cannot be read, or many in a row cannot.
    pub fn scan(
        &self,
        after: Option<&RepositoryName>,
        stale_files: StaleTempFiles,
        visit: &mut Visitor<'_>,
    ) -> Result<bool, StoreError> {
        let parts = self.entries(REPOSITORIES)?;
        let mut scan = Scan {
            store: self,
            after: after.map(RepositoryName::as_str),
            stale_files,
            visit,
            silent: 0,
            fault: None,
        };
        let ended = scan.through("", parts).is_continue();
        match scan.fault {
            Some(fault) => Err(fault),
            None => Ok(ended),
        }
    }

    /// Removes one stale temporary file; if that fails, the next scan tries again.
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
                Ok(()) => tracing::info!(path, "stale temporary file removed"),
                Err(error) => tracing::debug!(path, %error, "temporary file not removed"),
            }
        }
    }

    /// The names in a directory, sorted; empty if it does not exist.
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
    /// Visits the repositories whose names begin with `name`, which may be one itself. `parts` are
    /// the entries of its directory.
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
            // Names that begin with an underscore are the registry's own directories.
            if RepositoryName::parse(&below).is_ok() && !self.is_behind(&below) {
                let parts = self.entries(&join(REPOSITORIES, &below))?;
                self.through(&below, parts)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether an earlier scan visited everything below a name.
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

    /// Whether a layer's directory has a link. Removes stale temporary files there.
    fn scan_directory(&mut self, directory: &str) -> ControlFlow<(), bool> {
        let entries = self.entries(directory)?;
        if self.stale_files == StaleTempFiles::Remove {
            for name in entries.iter().filter(|name| link::is_temporary(name)) {
                self.store.remove_if_stale(&join(directory, name));
            }
        }
        ControlFlow::Continue(entries.iter().any(|name| name == link::NAME))
    }

    /// The names in a directory; if it cannot be read, none, and the visitor learns why.
    fn entries(&mut self, directory: &str) -> ControlFlow<(), Vec<String>> {
        match self.store.entries(directory) {
            Ok(names) => {
                self.silent = 0;
                ControlFlow::Continue(names)
            }
            Err(error) => {
                // A missing permission is not a failing disk, however often it occurs.
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

/// Sorts names part by part, in the order of the scan.
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
