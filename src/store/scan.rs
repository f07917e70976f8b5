//! The scan of every repository's links, directory by directory.
//!
//! Repositories come in a fixed order, so that a scan can resume at the repository after the last.
//! An unreadable directory is skipped. crossmount's own stale temporary files are removed.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType};

use crate::oci::{Digest, RepositoryName};
use crate::store::listing::DirectoryListing;
use crate::store::open::{OpenStore, StoreError};
use crate::store::{layout, new_link};

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
    /// A directory in which repositories may be was listed.
    Directory {
        /// The names of the repositories there begin with this; empty for all repositories.
        name: &'a str,
        listing: &'a DirectoryListing,
    },
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
        let listing = self.list_repositories("")?;
        let mut scan = Scan {
            store: self,
            after: after.map(RepositoryName::as_str),
            stale_files,
            visit,
            silent: 0,
            fault: None,
        };
        let ended = scan.through("", &listing).is_continue();
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
}

impl Scan<'_, '_> {
    /// Visits the repositories whose names begin with `name`, which may be one itself.
    fn through(&mut self, name: &str, listing: &DirectoryListing) -> ControlFlow<()> {
        (self.visit)(ScanEvent::Directory { name, listing })?;
        if listing.is_repository
            && self.after.is_none_or(|after| order(name) > order(after))
            && let Ok(repository) = RepositoryName::parse(name)
        {
            self.repository(&repository)?;
        }
        for part in &listing.parts {
            let below = join(name, part);
            if RepositoryName::parse(&below).is_ok() && !self.is_behind(&below) {
                let listing = self.store.list_repositories(&below);
                let listing = self.readable(listing, DirectoryListing::empty)?;
                self.through(&below, &listing)?;
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
        let links = layout::links(repository);
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
            for name in entries.iter().filter(|name| new_link::is_temporary(name)) {
                self.store.remove_if_stale(&join(directory, name));
            }
        }
        ControlFlow::Continue(entries.iter().any(|name| name == layout::LINK))
    }

    /// The names in a directory; if it cannot be read, none, and the visitor learns why.
    fn entries(&mut self, directory: &str) -> ControlFlow<(), Vec<String>> {
        let names = self.store.entries(directory);
        self.readable(names, Vec::new)
    }

    /// What was read of a directory, or nothing, and then the visitor learns why.
    fn readable<T>(
        &mut self,
        read: Result<T, StoreError>,
        nothing: impl FnOnce() -> T,
    ) -> ControlFlow<(), T> {
        match read {
            Ok(read) => {
                self.silent = 0;
                ControlFlow::Continue(read)
            }
            Err(error) => {
                // A missing permission is not a failing disk, however often it occurs.
                self.silent += usize::from(!error.is_permission_error());
                if error.is_stale() || self.silent >= MOST_SILENT {
                    self.fault = Some(error);
                    return ControlFlow::Break(());
                }
                (self.visit)(ScanEvent::Unreadable(&error))?;
                ControlFlow::Continue(nothing())
            }
        }
    }
}

/// Sorts names part by part, in the order of the scan.
fn order(name: &str) -> impl Ord + '_ {
    name.split('/').collect::<Vec<_>>()
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        return name.to_owned();
    }
    format!("{directory}/{name}")
}

#[cfg(test)]
mod tests;
