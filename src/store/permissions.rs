//! Checks that this process may write in the store as the registry's own user.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// The directories that the registry creates itself, deepest first, and last the root.
const DIRECTORIES: &[&str] = &[
    "docker/registry/v2/repositories",
    "docker/registry/v2",
    "docker/registry",
    "docker",
    "",
];

/// Why the store cannot be used, and what the operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum StorePermissionError {
    /// The root does not exist.
    #[error(
        "store.filesystem.rootdirectory: {0} does not exist: mount the registry's volume or correct the path"
    )]
    Missing(PathBuf),
    /// The root is not a directory.
    #[error("store.filesystem.rootdirectory: {0} is not a directory: correct the path")]
    NotADirectory(PathBuf),
    /// Another user owns the store.
    #[error(
        "the store's directory {directory} belongs to user {owner}, but crossmount runs as user {user}: run it as the registry's user"
    )]
    ForeignOwner {
        /// The deepest directory of the store that exists.
        directory: PathBuf,
        owner: u32,
        /// The effective user of this process.
        user: u32,
    },
    /// This user may not read or write in the directory.
    #[error(
        "user {user} cannot read and write the store's directory {directory}: {errno}; correct its mode, or mount it writable"
    )]
    NotWritable {
        /// The deepest directory of the store that exists.
        directory: PathBuf,
        /// The effective user of this process.
        user: u32,
        errno: Errno,
    },
}

/// Compares the owner of the store with this process's user, without writing anything.
///
/// If the registry has created nothing yet, the root's owner matters in two cases only. Either
/// this process is root and the root's owner is not, or this user may not write there at all. A
/// volume that a group may write (Kubernetes' `fsGroup`) passes.
pub(crate) fn check_owner(root: &Path) -> Result<(), StorePermissionError> {
    let user = rustix::process::geteuid().as_raw();
    let directory = deepest(root)?;
    let owner = owner(&directory).unwrap_or(user);
    let is_registrys_own = directory != root;
    if owner != user && (is_registrys_own || user == 0) {
        return Err(StorePermissionError::ForeignOwner {
            directory,
            owner,
            user,
        });
    }
    let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::accessat(CWD, &directory, wanted, AtFlags::EACCESS).map_err(|errno| {
        if owner == user {
            return StorePermissionError::NotWritable {
                directory: directory.clone(),
                user,
                errno,
            };
        }
        StorePermissionError::ForeignOwner {
            directory: directory.clone(),
            owner,
            user,
        }
    })
}

/// Writes a file without a name into the store, so that nothing can be left behind.
///
/// On filesystems without such files (NFS) it has crossmount's temporary name and is removed at
/// once. Returns the directory that was written to.
pub(crate) fn check_writable(root: &Path) -> Result<PathBuf, StorePermissionError> {
    let directory = deepest(root)?;
    match write_test_file(&directory) {
        Ok(()) => Ok(directory),
        Err(errno) => Err(StorePermissionError::NotWritable {
            directory,
            user: rustix::process::geteuid().as_raw(),
            errno,
        }),
    }
}

fn write_test_file(directory: &Path) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o600);
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags | OFlags::TMPFILE, mode) {
        Ok(file) => return write_and_sync(&file),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    let path = directory.join(format!("link.crossmount.{}.tmp", uuid::Uuid::new_v4()));
    let file = rustix::fs::open(&path, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
    let written = write_and_sync(&file);
    rustix::fs::unlink(&path)?;
    written
}

fn write_and_sync(file: &std::os::fd::OwnedFd) -> Result<(), Errno> {
    rustix::io::write(file, b"crossmount")?;
    rustix::fs::fsync(file)
}

/// The deepest directory of the store that exists.
fn deepest(root: &Path) -> Result<PathBuf, StorePermissionError> {
    for relative in DIRECTORIES {
        let directory = if relative.is_empty() {
            root.to_owned()
        } else {
            root.join(relative)
        };
        match std::fs::metadata(&directory) {
            Ok(found) if found.is_dir() => return Ok(directory),
            Ok(_) => return Err(StorePermissionError::NotADirectory(directory)),
            Err(_) => {}
        }
    }
    Err(StorePermissionError::Missing(root.to_owned()))
}

fn owner(directory: &Path) -> Option<u32> {
    rustix::fs::stat(directory).ok().map(|stat| stat.st_uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_directory_is_accepted_empty_or_not() {
        let root = tempfile::tempdir().unwrap();
        check_owner(root.path()).unwrap();
        assert_eq!(check_writable(root.path()).unwrap(), root.path());
        let store = root.path().join("docker/registry/v2/repositories");
        std::fs::create_dir_all(&store).unwrap();
        check_owner(root.path()).unwrap();
        assert_eq!(check_writable(root.path()).unwrap(), store);
        assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_root_and_a_file_in_its_place_are_distinguished() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing");
        assert!(matches!(
            check_owner(&missing),
            Err(StorePermissionError::Missing(_))
        ));
        std::fs::write(&missing, "").unwrap();
        assert!(matches!(
            check_owner(&missing),
            Err(StorePermissionError::NotADirectory(_))
        ));
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let foreign = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(root.path(), Some(12345), Some(12345)).unwrap();
            root.path()
        } else {
            Path::new("/")
        };
        assert!(matches!(
            check_owner(foreign),
            Err(StorePermissionError::ForeignOwner { .. })
        ));
    }
}
