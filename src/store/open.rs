//! The store's root directory, opened anew for each job, and the errors of calls on it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::config::Durability;
use crate::store::layout;
use crate::store::unsynced_dirs::UnsyncedDirectories;

/// The length of a layer link: `sha256:` and 64 digits, no newline.
const LINK_LENGTH: usize = 71;
/// How much of a link is read: one byte more shows that it is too long.
const LINK_READ: u64 = LINK_LENGTH as u64 + 1;

/// The registry's store below its `rootdirectory`, not opened yet.
#[derive(Debug)]
pub struct Filesystem {
    root: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) unsynced: UnsyncedDirectories,
}

/// The store's root directory, open for one job.
#[derive(Debug)]
pub struct OpenStore<'a> {
    pub(crate) directory: OwnedFd,
    pub(crate) filesystem: &'a Filesystem,
}

/// A call on the store that failed for another reason than absence.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused a call.
    #[error("{call} {path}: {errno}")]
    Call {
        /// The name of the system call.
        call: &'static str,
        /// Relative to the store's root directory.
        path: String,
        /// The error that it returned.
        errno: Errno,
    },
    /// The store belongs to another user than this process.
    #[error("the store belongs to user {owner}, this process runs as user {user}")]
    ForeignOwner {
        /// The owner of the store's root directory.
        owner: u32,
        /// The effective user of this process.
        user: u32,
    },
}

impl StoreError {
    pub(crate) fn call(call: &'static str, path: &str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Call {
            call,
            path: path.to_owned(),
            errno,
        }
    }

    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Self::Call { errno, .. } if *errno == Errno::STALE)
    }

    /// Whether a file or a directory on the way to it is not there.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Call { errno, .. } if *errno == Errno::NOENT)
    }

    /// Whether this user lacks the permission for the call.
    pub(crate) fn is_permission_error(&self) -> bool {
        matches!(self, Self::Call { errno, .. } if matches!(*errno, Errno::ACCESS | Errno::PERM))
    }
}

/// A link as it was read from the store.
pub(crate) struct StoredLink {
    /// At most one byte more than a valid link has.
    pub content: Vec<u8>,
    /// The modification time, by the store's clock.
    pub written: Option<SystemTime>,
    pub file: File,
}

impl Filesystem {
    /// Opens nothing yet: the volume may still be empty or absent.
    pub fn new(root: &Path, durability: Durability) -> Self {
        Self {
            root: root.to_owned(),
            durability,
            unsynced: UnsyncedDirectories::default(),
        }
    }

    /// Runs a job on the opened store; `None` if the registry has not created one yet.
    ///
    /// The directory is opened anew for every job. A descriptor that outlived a job would still
    /// refer to the old directory after the volume was unmounted and mounted again. If a shared
    /// filesystem reports a stale handle, the job runs once more from the root's path.
    pub fn on_open<T>(
        &self,
        mut job: impl FnMut(&OpenStore<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut attempt = || match self.open()? {
            Some(store) => {
                store.check_owner()?;
                job(&store).map(Some)
            }
            None => Ok(None),
        };
        match attempt() {
            Err(error) if error.is_stale() => attempt(),
            done => done,
        }
    }

    /// Like [`Filesystem::on_open`], but once and for any user: the job must only read.
    pub fn on_open_to_read<T>(
        &self,
        job: impl FnOnce(&OpenStore<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self.open()? {
            Some(store) => job(&store).map(Some),
            None => Ok(None),
        }
    }

    fn open(&self) -> Result<Option<OpenStore<'_>>, StoreError> {
        let path = self.root.join(layout::VERSION_DIRECTORY);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty())) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(StoreError::call("open", layout::VERSION_DIRECTORY)(errno)),
        };
        Ok(Some(OpenStore {
            directory,
            filesystem: self,
        }))
    }
}

impl OpenStore<'_> {
    fn check_owner(&self) -> Result<(), StoreError> {
        let owner = rustix::fs::fstat(&self.directory)
            .map_err(StoreError::call("stat", layout::VERSION_DIRECTORY))?
            .st_uid;
        let user = rustix::process::geteuid().as_raw();
        if owner != user {
            return Err(StoreError::ForeignOwner { owner, user });
        }
        Ok(())
    }

    /// Reads the link at a relative path; `None` if there is none.
    pub(crate) fn read_link(&self, path: &str) -> Result<Option<StoredLink>, StoreError> {
        // NONBLOCK: opening must not wait, whatever kind of file this is.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let open = || rustix::fs::openat(&self.directory, path, flags, Mode::empty());
        let file = match retry_on_intr(open) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(StoreError::call("open", path)(errno)),
        };
        let mut content = Vec::with_capacity(LINK_LENGTH + 1);
        if let Err(cause) = (&file).take(LINK_READ).read_to_end(&mut content) {
            let errno = Errno::from_io_error(&cause).unwrap_or(Errno::IO);
            return Err(StoreError::call("read", path)(errno));
        }
        let written = file.metadata().and_then(|data| data.modified()).ok();
        Ok(Some(StoredLink {
            content,
            written,
            file,
        }))
    }
}
