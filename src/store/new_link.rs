//! The file of a layer link before it has the link's name, and how it gets that name.
//!
//! On most local filesystems the file has no name until then (`O_TMPFILE`), so a killed process
//! leaves nothing behind. Elsewhere it has a temporary name beside the link, also if a file without
//! a name cannot get one, as without `/proc`.
//!
//! A whole link with that name stays. On a shared filesystem the registry of another host may have
//! it open, and would meet a stale handle. Where the filesystem has neither a rename that spares a
//! file nor hard links, two hosts at the same moment may still replace each other's link.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use fiemap::{Fiemap, FiemapExtentFlags, FiemapFlags};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};
use uuid::Uuid;

use crate::oci::Digest;
use crate::store::layout;
use crate::store::open::{OpenStore, StoreError};

/// Precedes the UUID in the name of crossmount's temporary files.
const OURS: &str = "link.crossmount.";
const TEMPORARY: &str = ".tmp";

fn temporary_name() -> String {
    format!("{OURS}{}{TEMPORARY}", Uuid::new_v4())
}

/// Whether a file name is that of a link that crossmount has not made visible yet.
pub(crate) fn is_temporary(name: &str) -> bool {
    let identifier = name.strip_prefix(OURS);
    let identifier = identifier.and_then(|rest| rest.strip_suffix(TEMPORARY));
    identifier.is_some_and(|text| Uuid::try_parse(text).is_ok())
}

/// The directory of a link, open.
#[derive(Debug)]
pub(super) struct LinkDirectory<'a> {
    store: BorrowedFd<'a>,
    pub(super) descriptor: OwnedFd,
    /// Relative to the store's root directory.
    pub(super) path: &'a str,
}

/// The file of a link that is not visible yet.
#[derive(Debug)]
pub(super) struct NewLink {
    file: File,
    /// The file's name, if it has one.
    temporary: Option<String>,
}

/// What became of a new link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    /// It is visible.
    Visible,
    /// There is another file with the link's name.
    Occupied,
    /// A file without a name cannot get one here. One with a temporary name can.
    Unnameable,
}

impl OpenStore<'_> {
    pub(super) fn link_directory<'a>(
        &'a self,
        path: &'a str,
    ) -> Result<LinkDirectory<'a>, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.directory, path, flags, Mode::empty());
        let descriptor = retry_on_intr(open).map_err(StoreError::call("open", path))?;
        Ok(LinkDirectory {
            store: self.directory.as_fd(),
            descriptor,
            path,
        })
    }
}

impl NewLink {
    /// Writes the 71 bytes into a file in the link's directory: `blobs/` may be on another
    /// filesystem.
    pub(super) fn create(
        directory: &LinkDirectory<'_>,
        digest: &Digest,
    ) -> Result<Self, StoreError> {
        let new = match Self::without_name(directory) {
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {
                Self::with_name(directory)
            }
            created => created,
        };
        Self::holding(new, directory, digest)
    }

    /// The same with a file that has a temporary name.
    pub(super) fn create_with_name(
        directory: &LinkDirectory<'_>,
        digest: &Digest,
    ) -> Result<Self, StoreError> {
        Self::holding(Self::with_name(directory), directory, digest)
    }

    fn holding(
        created: Result<Self, Errno>,
        directory: &LinkDirectory<'_>,
        digest: &Digest,
    ) -> Result<Self, StoreError> {
        let mut new = created.map_err(StoreError::call("open", directory.path))?;
        if let Err(cause) = new.file.write_all(digest.as_str().as_bytes()) {
            new.discard(directory);
            let errno = Errno::from_io_error(&cause).unwrap_or(Errno::IO);
            return Err(StoreError::call("write", directory.path)(errno));
        }
        Ok(new)
    }

    fn without_name(directory: &LinkDirectory<'_>) -> Result<Self, Errno> {
        let file = open_for_writing(directory, directory.path, OFlags::TMPFILE)?;
        Ok(Self {
            file,
            temporary: None,
        })
    }

    fn with_name(directory: &LinkDirectory<'_>) -> Result<Self, Errno> {
        let name = temporary_name();
        let path = format!("{}/{name}", directory.path);
        let file = open_for_writing(directory, &path, OFlags::CREATE | OFlags::EXCL)?;
        Ok(Self {
            file,
            temporary: Some(name),
        })
    }

    /// Writes the bytes and the inode to the disk.
    pub(super) fn sync(&self, directory: &LinkDirectory<'_>) -> Result<(), StoreError> {
        retry_on_intr(|| rustix::fs::fsync(&self.file))
            .map_err(StoreError::call("fsync", directory.path))
    }

    /// Writes the bytes to their place on the disk, and waits for it.
    ///
    /// No log is committed, so this does not make the file durable. It does so together with a
    /// later commit: every change of the inode for these bytes is in the log before that commit,
    /// and the commit flushes the disk's cache. `FIEMAP_FLAG_SYNC` is the kernel's call for it
    /// (`Documentation/filesystems/fiemap.rst`). The extents show that it did so. If they do not,
    /// the file is synced.
    pub(super) fn write_out(&self, directory: &LinkDirectory<'_>) -> Result<(), StoreError> {
        let unwritten =
            FiemapExtentFlags::UNKNOWN | FiemapExtentFlags::DELALLOC | FiemapExtentFlags::UNWRITTEN;
        let mut extents = Fiemap::with_flags(&self.file, FiemapFlags::SYNC).peekable();
        let is_written = extents.peek().is_some()
            && extents.all(|extent| extent.is_ok_and(|it| !it.fe_flags.intersects(unwritten)));
        if is_written {
            Ok(())
        } else {
            self.sync(directory)
        }
    }

    /// Gives the file the link's name, unless another file has it.
    pub(super) fn publish(
        &mut self,
        directory: &LinkDirectory<'_>,
    ) -> Result<Published, StoreError> {
        let (call, published) = match &self.temporary {
            None => ("link", self.publish_by_name(directory)),
            Some(temporary) => ("rename", publish_by_rename(directory, temporary)),
        };
        if matches!(published, Ok(Published::Visible)) {
            self.temporary = None;
        }
        published.map_err(StoreError::call(call, directory.path))
    }

    fn publish_by_name(&self, directory: &LinkDirectory<'_>) -> Result<Published, Errno> {
        match self.name(directory, layout::LINK) {
            // No /proc, no hard links, or a security module that allows none.
            Err(Errno::NOENT | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS) => {
                Ok(Published::Unnameable)
            }
            named => named,
        }
    }

    /// Gives the file the link's name, and takes it from the file that has it.
    pub(super) fn replace(&mut self, directory: &LinkDirectory<'_>) -> Result<(), StoreError> {
        let temporary = self.temporary_name(directory)?;
        rename(directory, &temporary, RenameFlags::empty())
            .map_err(StoreError::call("rename", directory.path))?;
        self.temporary = None;
        Ok(())
    }

    /// The file's temporary name, which it gets if it has none.
    fn temporary_name(&mut self, directory: &LinkDirectory<'_>) -> Result<String, StoreError> {
        if let Some(name) = &self.temporary {
            return Ok(name.clone());
        }
        let name = temporary_name();
        self.name(directory, &name)
            .map_err(StoreError::call("link", directory.path))?;
        self.temporary = Some(name.clone());
        Ok(name)
    }

    /// Gives a file without a name its first one.
    fn name(&self, directory: &LinkDirectory<'_>, name: &str) -> Result<Published, Errno> {
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let to = &directory.descriptor;
        let named = retry_on_intr(|| {
            rustix::fs::linkat(CWD, own.as_str(), to, name, AtFlags::SYMLINK_FOLLOW)
        });
        let named = match named {
            // There is no /proc. Without it a kernel before 6.10 wants a capability.
            Err(Errno::NOENT) => {
                retry_on_intr(|| rustix::fs::linkat(&self.file, "", to, name, AtFlags::EMPTY_PATH))
            }
            named => named,
        };
        match named {
            Ok(()) => Ok(Published::Visible),
            Err(Errno::EXIST) => Ok(Published::Occupied),
            Err(errno) => Err(errno),
        }
    }

    /// Removes the temporary name; the registry ignores a file that stays behind.
    pub(super) fn discard(&self, directory: &LinkDirectory<'_>) {
        if let Some(name) = &self.temporary {
            remove(directory, name);
        }
    }
}

fn publish_by_rename(directory: &LinkDirectory<'_>, temporary: &str) -> Result<Published, Errno> {
    match rename(directory, temporary, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Published::Visible),
        Err(Errno::EXIST) => Ok(Published::Occupied),
        // NFS and most filesystems in user space have no such rename.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            publish_by_hard_link(directory, temporary)
        }
        Err(errno) => Err(errno),
    }
}

/// For filesystems on which a rename always replaces.
fn publish_by_hard_link(
    directory: &LinkDirectory<'_>,
    temporary: &str,
) -> Result<Published, Errno> {
    let at = &directory.descriptor;
    let linked =
        retry_on_intr(|| rustix::fs::linkat(at, temporary, at, layout::LINK, AtFlags::empty()));
    match linked {
        Ok(()) => {
            remove(directory, temporary);
            Ok(Published::Visible)
        }
        Err(Errno::EXIST) => Ok(Published::Occupied),
        // No hard links either. Between the look and the rename another host may write its link.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
            match rustix::fs::statat(at, layout::LINK, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Ok(Published::Occupied),
                Err(Errno::NOENT) => {
                    rename(directory, temporary, RenameFlags::empty()).map(|()| Published::Visible)
                }
                Err(errno) => Err(errno),
            }
        }
        Err(errno) => Err(errno),
    }
}

fn open_for_writing(
    directory: &LinkDirectory<'_>,
    path: &str,
    flags: OFlags,
) -> Result<File, Errno> {
    let flags = flags | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    let open = || rustix::fs::openat(directory.store, path, flags, mode);
    retry_on_intr(open).map(File::from)
}

fn rename(directory: &LinkDirectory<'_>, from: &str, flags: RenameFlags) -> Result<(), Errno> {
    let at = &directory.descriptor;
    let rename = || {
        if flags.is_empty() {
            rustix::fs::renameat(at, from, at, layout::LINK)
        } else {
            rustix::fs::renameat_with(at, from, at, layout::LINK, flags)
        }
    };
    retry_on_intr(rename)
}

fn remove(directory: &LinkDirectory<'_>, name: &str) {
    let unlink = || rustix::fs::unlinkat(&directory.descriptor, name, AtFlags::empty());
    if let Err(error) = retry_on_intr(unlink) {
        let path = format!("{}/{name}", directory.path);
        tracing::debug!(path, %error, "temporary file not removed");
    }
}

#[cfg(test)]
mod tests;
