//! The floor of a mount: the system calls that it takes on the disk, in a loop of a few threads,
//! with no HTTP, no access control and no thread changes around them.
//!
//! ```text
//! floor ROOT SOURCE DIGEST DURABILITY THREADS SECONDS
//! ```
//!
//! Mounts the source's layer into new repositories below two folders, as the load does, and prints
//! one line of JSON with how many, and the median and the 99th percentile of one. DURABILITY is
//! `none`, `file`, `full`, or `ordered`: `full` where the filesystem commits changes in their order.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use fiemap::{Fiemap, FiemapFlags};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// What a link is made from.
struct Layer<'a> {
    root: &'a Path,
    source: &'a str,
    digest: &'a str,
    hex: &'a str,
    durability: Durability,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    None,
    File,
    Full,
    Ordered,
}

impl Layer<'_> {
    /// One mount; the calls are those of `src/store`, in their order.
    fn mount(&self, repository: &str) -> io::Result<()> {
        let store = open(&self.root.join("docker/registry/v2"))?;
        rustix::fs::fstat(&store)?;
        let hex = self.hex;
        let source = format!("repositories/{}/_layers/sha256/{hex}/link", self.source);
        assert_eq!(self.read(&store, &source)?.as_deref(), Some(self.digest));
        let data = format!("blobs/sha256/{}/{hex}/data", &hex[..2]);
        rustix::fs::statat(&store, &data, AtFlags::empty())?;
        let leaf = format!("repositories/{repository}/_layers/sha256/{hex}");
        let link = format!("{leaf}/link");
        assert_eq!(self.read(&store, &link)?, None);
        let mut made = Vec::new();
        make_folders(&store, &leaf, &mut made)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&store, &leaf, flags, Mode::empty())?;
        let file = self.write(&store, &leaf)?;
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, own.as_str(), &folder, "link", AtFlags::SYMLINK_FOLLOW)?;
        match self.durability {
            Durability::None | Durability::File => {}
            Durability::Ordered => rustix::fs::fsync(folder)?,
            Durability::Full => {
                rustix::fs::fsync(folder)?;
                made.iter()
                    .rev()
                    .try_for_each(|folder| sync(&store, parent(folder)))?;
            }
        }
        rustix::fs::statat(&store, &data, AtFlags::empty())?;
        Ok(())
    }

    fn read(&self, store: &OwnedFd, path: &str) -> io::Result<Option<String>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(store, path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let mut content = String::with_capacity(self.digest.len() + 1);
        (&file).take(72).read_to_string(&mut content)?;
        file.metadata()?;
        Ok(Some(content))
    }

    fn write(&self, store: &OwnedFd, leaf: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(store, leaf, flags, Mode::from_raw_mode(0o666))?;
        let mut file = File::from(file);
        file.write_all(self.digest.as_bytes())?;
        match self.durability {
            Durability::None => {}
            Durability::Ordered => {
                for extent in Fiemap::with_flags(&file, FiemapFlags::SYNC) {
                    extent?;
                }
            }
            Durability::File | Durability::Full => rustix::fs::fsync(&file)?,
        }
        Ok(file)
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn make_folders(store: &OwnedFd, path: &str, made: &mut Vec<String>) -> io::Result<()> {
    let mkdir = || rustix::fs::mkdirat(store, path, Mode::from_raw_mode(0o777));
    let done = match mkdir() {
        Err(Errno::NOENT) => {
            make_folders(store, parent(path), made)?;
            mkdir()
        }
        done => done,
    };
    match done {
        // Another thread makes it too.
        Err(Errno::EXIST) => return Ok(()),
        done => done?,
    }
    made.push(path.to_owned());
    Ok(())
}

fn sync(store: &OwnedFd, path: &str) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(store, path, flags, Mode::empty())?;
    Ok(rustix::fs::fsync(folder)?)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn run(layer: &Layer<'_>, thread: usize, seconds: Duration) -> io::Result<Vec<Duration>> {
    let mut took = Vec::new();
    let began = Instant::now();
    while began.elapsed() < seconds {
        let start = Instant::now();
        layer.mount(&format!("t/{}/{thread}-{}", thread % 2, took.len()))?;
        took.push(start.elapsed());
    }
    Ok(took)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    let [root, source, digest, durability, threads, seconds] = &arguments[..] else {
        return Err("floor ROOT SOURCE DIGEST DURABILITY THREADS SECONDS".into());
    };
    let layer = Layer {
        root: Path::new(root),
        source,
        digest,
        hex: digest.strip_prefix("sha256:").ok_or("no sha256")?,
        durability: match durability.as_str() {
            "none" => Durability::None,
            "file" => Durability::File,
            "full" => Durability::Full,
            "ordered" => Durability::Ordered,
            _ => return Err("no such durability".into()),
        },
    };
    let seconds = Duration::from_secs_f64(seconds.parse()?);
    let began = Instant::now();
    let took: io::Result<Vec<Vec<Duration>>> = std::thread::scope(|scope| {
        let start = |thread| {
            scope.spawn({
                let layer = &layer;
                move || run(layer, thread, seconds)
            })
        };
        let running: Vec<_> = (0..threads.parse().unwrap_or(1)).map(start).collect();
        let ends = running.into_iter().map(std::thread::ScopedJoinHandle::join);
        ends.map(|end| end.unwrap_or_else(|_| Err(io::Error::other("a thread died"))))
            .collect()
    });
    let elapsed = began.elapsed();
    let mut took = took?.concat();
    took.sort_unstable();
    let at = |share: usize| {
        took.get(took.len() * share / 100)
            .map_or(0, Duration::as_micros)
    };
    println!(
        r#"{{"answers": {}, "microseconds": {}, "p50": {}, "p99": {}}}"#,
        took.len(),
        elapsed.as_micros(),
        at(50),
        at(99)
    );
    Ok(())
}
