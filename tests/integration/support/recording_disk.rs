//! Disks in memory, as files of a filesystem of our own (FUSE), on which loop devices are put. A
//! disk can record each write and each flush that its device sends.
//!
//! The files are opened for direct I/O, so no page cache on this side hides or delays a write. A
//! loop device turns a flush into a sync of its file. It offers no forced unit access: the kernel
//! turns such a write into a write and a flush.

use super::sparse_image::SparseImage;
use super::{filesystems, tools};
use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, WriteFlags,
};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};
use tempfile::TempDir;

/// Whether disks can be made here; says so where not.
pub fn can_record() -> bool {
    if !filesystems::can_mount() {
        return false;
    }
    let is_there = |device: &&str| Path::new(device).exists();
    let missing: Vec<_> = ["/dev/fuse", "/dev/loop-control"]
        .into_iter()
        .filter(|device| !is_there(device))
        .collect();
    if !missing.is_empty() {
        tools::skip(&format!("there is no {missing:?}"));
    }
    missing.is_empty()
}

/// What happened to a disk, in its order.
#[derive(Debug, Clone)]
pub enum Event {
    Write {
        offset: usize,
        bytes: Arc<[u8]>,
    },
    /// All writes before it are safe.
    Flush,
    /// The test notes that it knows this, such as the number of an answer.
    Mark(usize),
}

struct Disk {
    image: SparseImage,
    recorded: Option<Vec<Event>>,
}

impl Disk {
    fn record(&mut self, event: impl FnOnce() -> Event) {
        if let Some(recorded) = &mut self.recorded {
            recorded.push(event());
        }
    }
}

type Disks = Arc<Mutex<BTreeMap<u64, Disk>>>;

/// A folder in which each disk is a file, named by its number.
pub struct DiskFolder {
    disks: Disks,
    place: TempDir,
    session: Option<BackgroundSession>,
}

impl DiskFolder {
    pub fn mount() -> Self {
        let place = tempfile::tempdir().unwrap();
        let disks = Disks::default();
        let served = Served(Arc::clone(&disks));
        let session = fuser::spawn_mount(served, place.path(), &fuser::Config::default()).unwrap();
        Self {
            disks,
            place,
            session: Some(session),
        }
    }

    /// A number above 1, which no disk had before: the kernel remembers files by it.
    pub fn put(&self, number: u64, image: SparseImage) -> PathBuf {
        let disk = Disk {
            image,
            recorded: None,
        };
        assert!(number > INodeNo::ROOT.0, "taken by the folder");
        assert!(lock(&self.disks).insert(number, disk).is_none());
        self.place.path().join(number.to_string())
    }

    pub fn remove(&self, number: u64) {
        lock(&self.disks).remove(&number);
    }

    /// What it holds at this moment, from which the recording begins.
    pub fn begin_recording(&self, number: u64) -> SparseImage {
        let mut disks = lock(&self.disks);
        let disk = disks.get_mut(&number).unwrap();
        disk.recorded = Some(Vec::new());
        disk.image.clone()
    }

    pub fn mark(&self, number: u64, mark: usize) {
        let mut disks = lock(&self.disks);
        disks.get_mut(&number).unwrap().record(|| Event::Mark(mark));
    }

    pub fn end_recording(&self, number: u64) -> Vec<Event> {
        let mut disks = lock(&self.disks);
        disks.get_mut(&number).unwrap().recorded.take().unwrap()
    }
}

impl Drop for DiskFolder {
    fn drop(&mut self) {
        // Where something still uses it, it is left rather than waited for.
        let ended = self.session.take().map(BackgroundSession::umount_and_join);
        if !ended.is_some_and(|ended| ended.is_ok()) {
            let _ = Command::new("umount")
                .arg("-l")
                .arg(self.place.path())
                .status();
        }
    }
}

fn lock(disks: &Disks) -> MutexGuard<'_, BTreeMap<u64, Disk>> {
    // A test that panics must not leave calls of the kernel without an answer.
    disks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the kernel asks.
struct Served(Disks);

/// Nothing is remembered: a disk may be taken away.
const NOT_KEPT: Duration = Duration::ZERO;

impl Served {
    fn about(&self, number: u64) -> Result<FileAttr, Errno> {
        let (kind, size) = if number == INodeNo::ROOT.0 {
            (FileType::Directory, 0)
        } else {
            let disks = lock(&self.0);
            let disk = disks.get(&number).ok_or(Errno::ENOENT)?;
            (FileType::RegularFile, disk.image.size() as u64)
        };
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let number = name.to_str().and_then(|name| name.parse().ok());
        match number.ok_or(Errno::ENOENT).and_then(|it| self.about(it)) {
            Ok(about) => reply.entry(&NOT_KEPT, &about, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.about(number.0) {
            Ok(about) => reply.attr(&NOT_KEPT, &about),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX / 2);
        let disks = lock(&self.0);
        match disks.get(&number.0) {
            Some(disk) => reply.data(&disk.image.read(offset, size as usize)),
            None => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX / 2);
        let mut disks = lock(&self.0);
        match disks.get_mut(&number.0) {
            Some(disk) if offset + bytes.len() <= disk.image.size() => {
                disk.image.write(offset, bytes);
                disk.record(|| Event::Write {
                    offset,
                    bytes: bytes.into(),
                });
                // Not before it is recorded: what the writer does next comes later.
                reply.written(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            }
            Some(_) => reply.error(Errno::ENOSPC),
            None => reply.error(Errno::EIO),
        }
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if let Some(disk) = lock(&self.0).get_mut(&number.0) {
            disk.record(|| Event::Flush);
        }
        reply.ok();
    }
}

/// How long a filesystem may be in use.
const UNMOUNTED: Duration = Duration::from_secs(5);

/// A loop device over a file, and the filesystem on it.
pub struct LoopMount {
    pub place: PathBuf,
}

impl LoopMount {
    /// With options beside `loop`. Gives what `mount` says if the filesystem cannot be mounted.
    pub fn of(file: &Path, place: &Path, options: &str) -> Result<Self, String> {
        std::fs::create_dir_all(place).unwrap();
        let mut command = Command::new("mount");
        let options = format!("loop{options}");
        let output = command.args(["-o", &options]).arg(file).arg(place).output();
        let output = output.unwrap();
        if output.status.success() {
            Ok(Self {
                place: place.to_owned(),
            })
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        let unmount = |options: &[&str]| {
            let mut command = Command::new("umount");
            let status = command.args(options).arg(&self.place).stderr(Stdio::null());
            status.status().is_ok_and(|status| status.success())
        };
        // A program that was just started may still hold what this process had open.
        let began = Instant::now();
        while !unmount(&[]) {
            if began.elapsed() > UNMOUNTED {
                // The loop device goes with the last user.
                unmount(&["-l"]);
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
