//! Whether one sync of a directory makes durable what was done before it.
//!
//! ext4 with a journal and XFS write each change of a directory or an inode into a log, and commit
//! the log in the order of the changes. So a commit of a link's name also commits the directories
//! that were made before it, whoever made them. `Documentation/filesystems/ext4/journal.rst` and
//! `Documentation/filesystems/xfs/xfs-delayed-logging-design.rst` of the kernel describe both logs.
//!
//! Btrfs is not among them: a sync writes chosen inodes into a tree of their own, outside the order
//! of its transactions. A file that reaches the disk there with its directory may be empty.

use std::os::fd::AsFd;

use rustix::fs::{fstat, fstatfs, major, minor};

/// `EXT4_SUPER_MAGIC`; ext2 and ext3 have it too.
const EXT4: u64 = 0xef53;
/// `XFS_SUPER_MAGIC`.
const XFS: u64 = 0x5846_5342;
/// What ext4 shows in place of its journal's thread if it has no journal.
const NO_JOURNAL: &str = "<none>";

/// Whether the filesystem of an open file commits all changes in their order.
///
/// Where that cannot be found out, the answer is no. It costs a few microseconds, and is not kept:
/// another filesystem may be mounted there by the next call.
pub(super) fn is_kept_by(file: impl AsFd) -> bool {
    let Ok(about) = fstatfs(&file) else {
        return false;
    };
    match u64::try_from(about.f_type) {
        Ok(XFS) => true,
        Ok(EXT4) => fstat(&file).is_ok_and(|about| has_journal(about.st_dev)),
        _ => false,
    }
}

/// Whether the ext4 on a device has a journal. The drivers of ext2 and ext3 are not asked.
fn has_journal(device: u64) -> bool {
    let device = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let Ok(target) = std::fs::read_link(device) else {
        return false;
    };
    let Some(name) = target.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    // The number of the thread is 0 in a container that does not see it.
    std::fs::read_to_string(format!("/sys/fs/ext4/{name}/journal_task"))
        .is_ok_and(|thread| thread.trim() != NO_JOURNAL)
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
        assert!(!has_journal(rustix::fs::makedev(4095, 77)));
    }
}
