//! Whether one sync of a directory makes durable what was done before it.
//!
//! ext4 with a journal and XFS write each change of a directory or an inode into a log, and commit
//! the log in the order of the changes. So a commit of a link's name also commits the directories
//! that any process made before it. `Documentation/filesystems/ext4/journal.rst` and
//! `Documentation/filesystems/xfs/xfs-delayed-logging-design.rst` of the kernel describe both logs.
//!
//! Btrfs is not among them: a sync writes chosen inodes into a tree of their own, outside the order
//! of its transactions. A file that reaches the disk there with its directory may be empty.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{fstat, fstatfs, major, minor};

/// `EXT4_SUPER_MAGIC`; ext2 and ext3 have it too.
const EXT4: u64 = 0xef53;
/// `XFS_SUPER_MAGIC`.
const XFS: u64 = 0x5846_5342;
/// The inode of ext4's journal, if it is on the same device (`EXT4_JOURNAL_INO`).
const JOURNAL: u32 = 8;

/// Whether the filesystem of an open file commits all changes in their order.
///
/// If the kernel does not say it, the answer is no. It costs a few microseconds, and is not kept:
/// another filesystem may be mounted there by the next call.
pub(super) fn is_kept_by(file: impl AsFd) -> bool {
    let Ok(about) = fstatfs(&file) else {
        return false;
    };
    match u64::try_from(about.f_type) {
        Ok(XFS) => true,
        Ok(EXT4) => fstat(&file).is_ok_and(|about| has_own_journal(about.st_dev)),
        _ => false,
    }
}

/// Whether the ext4 on a device has a journal, and has it on the same device.
///
/// A commit to a journal on another device flushes that device's cache. It often does not flush the
/// one in which the bytes of a link are (`t_need_data_flush` in `fs/jbd2/commit.c`). The kernel shows
/// a journal by the names of its device and, if it is in a file, of that file's inode
/// (`jbd2_journal_init_inode` in `fs/jbd2/journal.c`).
fn has_own_journal(device: u64) -> bool {
    let device = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let Ok(target) = std::fs::read_link(device) else {
        return false;
    };
    let name = target.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| is_shown(Path::new("/proc/fs/jbd2"), name))
}

/// Whether the journal of a device is among the journals in use.
fn is_shown(journals: &Path, device: &str) -> bool {
    journals.join(format!("{device}-{JOURNAL}")).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_filesystem_in_memory_keeps_no_order() {
        assert!(!is_kept_by(File::open("/proc/self/status").unwrap()));
        assert!(!is_kept_by(File::open("/dev/null").unwrap()));
    }

    #[test]
    fn a_device_that_is_not_there_has_no_journal() {
        assert!(!has_own_journal(rustix::fs::makedev(4095, 77)));
    }

    #[test]
    fn a_journal_on_another_device_keeps_no_order() {
        let journals = tempfile::tempdir().unwrap();
        for name in ["sda1-8", "sdb", "dm-1-8"] {
            std::fs::create_dir(journals.path().join(name)).unwrap();
        }
        assert!(is_shown(journals.path(), "sda1"));
        assert!(is_shown(journals.path(), "dm-1"));
        for other in ["sdb", "sda", "dm-0"] {
            assert!(!is_shown(journals.path(), other), "{other}");
        }
    }
}
