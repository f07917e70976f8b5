//! The filesystems on which power cuts are played.

/// How a filesystem is made, and how it is mounted after a cut.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub make: &'static [&'static str],
    /// How it is mounted: the disks of several cuts have the same identifier.
    pub options: &'static str,
    /// What writes back the log before the filesystem is mounted, on most machines.
    pub replay: &'static [&'static str],
    /// On each of how many disks it does so; on the rest the kernel does.
    pub replay_each: u64,
    /// What the device writes whole: a filesystem may count on it.
    pub unit: usize,
    /// How many disks are looked at at once.
    pub at_once: usize,
}

/// Nothing is left to be made later.
const AT_ONCE: &str = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
const REPLAY: &[&str] = &["e2fsck", "-p"];

/// Blocks of 4 KiB, as on each disk of a usual size.
pub const EXT4: Kind = Kind {
    name: "ext4",
    make: &["mkfs.ext4", "-q", "-b", "4096", "-E", AT_ONCE],
    options: "",
    replay: REPLAY,
    replay_each: 2,
    unit: 512,
    at_once: 3,
};

/// Not the default of any distribution. By the kernel alone: after `e2fsck` 1.47.0 the filesystem itself
/// is damaged, also with the registry alone.
pub const EXT4_FAST_COMMIT: Kind = Kind {
    name: "ext4 with fast_commit",
    make: &[
        "mkfs.ext4",
        "-q",
        "-b",
        "4096",
        "-O",
        "fast_commit",
        "-E",
        AT_ONCE,
    ],
    replay: &[],
    ..EXT4
};

/// A block is written whole: the log does not mend a directory block that is torn in sectors, and the
/// kernel then mounts nothing (`xfs_dir3_block_read_verify`).
pub const XFS: Kind = Kind {
    name: "xfs",
    make: &["mkfs.xfs", "-q", "-K"],
    options: ",nouuid",
    replay: &[],
    replay_each: 1,
    unit: 4096,
    at_once: 3,
};

/// One at a time: the kernel takes two disks of one identifier for one filesystem.
pub const BTRFS: Kind = Kind {
    name: "btrfs",
    make: &["mkfs.btrfs", "-q", "-K"],
    options: "",
    replay: &[],
    replay_each: 1,
    unit: 4096,
    at_once: 1,
};
