//! The operator's files, reloaded when they change.
//!
//! They are checked when they are used, by device, inode, size and time, because Secrets of
//! Kubernetes are swapped by a symbolic link. They are never read on the async threads, because a
//! file may lie on a filesystem that hangs.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant as Deadline;

use crate::util::blocking_pool::{BlockingPool, JobError};

/// How long a check counts.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A file that changed within this time may change again with the same timestamp: every check reads
/// it.
const SETTLED: Duration = Duration::from_secs(2);
/// A larger file is an error.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Parses the files' bytes, or says what is wrong with them.
type Parse<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync>;

/// The parsed value of some files, kept up to date.
pub(crate) struct ReloadingFile<T> {
    files: Arc<FileSet<T>>,
    /// One check at a time: a file on a hung filesystem costs one thread.
    workers: BlockingPool,
}

/// The parsed value of the files as they are now.
#[derive(Debug)]
pub(crate) struct CurrentValue<T> {
    pub value: Arc<T>,
    /// Changes with the value.
    pub generation: u64,
    /// Whether the files' last content is valid, and `value` is not that of an older one.
    pub is_whole: bool,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", .path.display())]
pub struct WatchedFileError {
    /// The file; of several that are read together, the first.
    path: PathBuf,
    /// The cause.
    reason: String,
}

struct FileSet<T> {
    paths: Vec<PathBuf>,
    parse: Parse<T>,
    state: Mutex<WatchState<T>>,
}

struct WatchState<T> {
    current: CurrentValue<T>,
    bytes: Vec<Vec<u8>>,
    seen: Option<Vec<FileIdentity>>,
    looked: Instant,
}

/// The content of the files.
struct FileContents {
    bytes: Vec<Vec<u8>>,
    /// Their identities, unless a change could leave them the same.
    seen: Option<Vec<FileIdentity>>,
}

#[derive(Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl<T> Clone for CurrentValue<T> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            ..*self
        }
    }
}

impl<T: Send + Sync + 'static> ReloadingFile<T> {
    /// Loads the files for the first time. Blocks.
    pub(crate) fn load(
        paths: Vec<PathBuf>,
        parse: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, WatchedFileError> {
        let FileContents { bytes, seen } = read(&paths)?;
        let value = parse(&bytes).map_err(|reason| file_error(&paths[0], reason))?;
        let state = WatchState {
            current: CurrentValue {
                value: Arc::new(value),
                generation: 0,
                is_whole: true,
            },
            bytes,
            seen,
            looked: Instant::now(),
        };
        Ok(Self {
            files: Arc::new(FileSet {
                paths,
                parse: Box::new(parse),
                state: Mutex::new(state),
            }),
            workers: BlockingPool::new(1, 1024),
        })
    }

    /// The value as it is now, or was a tenth of a second ago.
    pub(crate) async fn current(&self, deadline: Deadline) -> Result<CurrentValue<T>, JobError> {
        if let Some(current) = self.files.checked_recently() {
            return Ok(current);
        }
        let files = self.files.clone();
        self.workers.run(deadline, move || files.check()).await
    }

    /// The value at the last check, without another one.
    pub(crate) fn current_value(&self) -> CurrentValue<T> {
        self.files.state.lock().current.clone()
    }

    /// Makes the next use check the files, however recent the last check was.
    pub(crate) fn invalidate(&self) {
        let mut state = self.files.state.lock();
        if let Some(long_ago) = state.looked.checked_sub(LOOK_AGAIN) {
            state.looked = long_ago;
        }
    }
}

impl<T> FileSet<T> {
    fn checked_recently(&self) -> Option<CurrentValue<T>> {
        let state = self.state.lock();
        (state.looked.elapsed() < LOOK_AGAIN).then(|| state.current.clone())
    }

    fn check(&self) -> CurrentValue<T> {
        if let Some(current) = self.checked_recently() {
            return current;
        }
        let began = Instant::now();
        let is_known =
            |seen: &Option<Vec<FileIdentity>>| seen.is_some() && *seen == stat(&self.paths);
        if !is_known(&self.state.lock().seen) {
            self.read_again();
        }
        let mut state = self.state.lock();
        state.looked = began;
        state.current.clone()
    }

    /// Sets the files' new value, or keeps the old one and logs why.
    fn read_again(&self) {
        // Read and parsed outside the lock, for which no request may have to wait. There is only
        // one check at a time.
        let read = read(&self.paths);
        let parsed = match read {
            Ok(FileContents { bytes, seen }) => {
                {
                    let mut state = self.state.lock();
                    state.seen = seen;
                    if bytes == state.bytes && state.current.is_whole {
                        return;
                    }
                }
                let parsed =
                    (self.parse)(&bytes).map_err(|reason| file_error(&self.paths[0], reason));
                parsed.map(|value| (value, bytes))
            }
            Err(fault) => Err(fault),
        };
        let mut state = self.state.lock();
        match parsed {
            Ok((value, bytes)) => {
                state.bytes = bytes;
                state.current = CurrentValue {
                    value: Arc::new(value),
                    generation: state.current.generation + 1,
                    is_whole: true,
                };
                tracing::info!(file = %self.paths[0].display(), "file reloaded");
            }
            Err(error) => {
                state.seen = None;
                if std::mem::replace(&mut state.current.is_whole, false) {
                    tracing::error!(file = %self.paths[0].display(), %error, "file reload failed");
                }
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for ReloadingFile<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.files.paths).finish()
    }
}

fn file_error(path: &Path, reason: impl Into<String>) -> WatchedFileError {
    WatchedFileError {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn read(paths: &[PathBuf]) -> Result<FileContents, WatchedFileError> {
    let mut all = Vec::new();
    let mut seen = Some(Vec::new());
    for path in paths {
        let (bytes, about) =
            read_one(path).map_err(|cause| file_error(path, format!("cannot be read: {cause}")))?;
        if bytes.len() as u64 > LARGEST {
            return Err(file_error(path, "is too large"));
        }
        all.push(bytes);
        seen = seen.filter(|_| is_settled(&about));
        if let Some(seen) = &mut seen {
            seen.push(FileIdentity::of(&about));
        }
    }
    Ok(FileContents { bytes: all, seen })
}

fn read_one(path: &Path) -> std::io::Result<(Vec<u8>, Metadata)> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok((bytes, about))
}

fn stat(paths: &[PathBuf]) -> Option<Vec<FileIdentity>> {
    let about = |path| std::fs::metadata(path).ok();
    paths
        .iter()
        .map(|path| about(path).as_ref().map(FileIdentity::of))
        .collect()
}

fn is_settled(about: &Metadata) -> bool {
    about
        .modified()
        .ok()
        .and_then(|changed| SystemTime::now().duration_since(changed).ok())
        .is_some_and(|age| age > SETTLED)
}

impl FileIdentity {
    fn of(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            changed: (about.mtime(), about.mtime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests;
