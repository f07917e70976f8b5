//! Paths in distribution's filesystem store, and what lies there.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The folder that a registry calls its root directory.
#[derive(Debug, Clone)]
pub struct Store {
    pub root: PathBuf,
}

/// What may not change in a file that nobody touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    pub inode: u64,
    pub size: u64,
    pub mtime: (i64, i64),
    pub mode: u32,
}

fn split(digest: &str) -> (&str, &str) {
    digest.split_once(':').expect("algorithm:hex")
}

impl Store {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub fn top(&self) -> PathBuf {
        self.root.join("docker/registry/v2")
    }

    /// Whether its filesystem commits changes in their order: XFS, and ext4 with a journal of its own.
    pub fn commits_in_order(&self) -> bool {
        let device = fs::metadata(&self.root).unwrap().dev();
        let device = (rustix::fs::major(device), rustix::fs::minor(device));
        match rustix::fs::statfs(&self.root).unwrap().f_type {
            0x5846_5342 => true,
            0xef53 => {
                let device = format!("/sys/dev/block/{}:{}", device.0, device.1);
                let device = fs::read_link(device).unwrap();
                let name = device.file_name().unwrap().to_string_lossy();
                Path::new(&format!("/proc/fs/jbd2/{name}-8")).is_dir()
            }
            _ => false,
        }
    }

    pub fn repository(&self, name: &str) -> PathBuf {
        self.top().join("repositories").join(name)
    }

    pub fn link(&self, name: &str, digest: &str) -> PathBuf {
        let (algorithm, hex) = split(digest);
        self.repository(name)
            .join("_layers")
            .join(algorithm)
            .join(hex)
            .join("link")
    }

    pub fn data(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = split(digest);
        self.top()
            .join("blobs")
            .join(algorithm)
            .join(&hex[..2])
            .join(hex)
            .join("data")
    }

    /// Writes a link behind everybody's back.
    pub fn plant_link(&self, name: &str, digest: &str, content: &str) {
        let link = self.link(name, digest);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        fs::write(link, content).unwrap();
    }

    pub fn has_link(&self, name: &str, digest: &str) -> bool {
        self.link(name, digest).is_file()
    }

    /// Takes a link away behind everybody's back.
    pub fn remove_link(&self, name: &str, digest: &str) {
        fs::remove_file(self.link(name, digest)).unwrap();
    }

    /// Every file below the root, by its path from there.
    pub fn files(&self) -> Vec<String> {
        listing(&self.root)
            .into_iter()
            .filter(|(_, trace)| trace.mode & 0o170_000 == 0o100_000)
            .map(|(path, _)| path)
            .collect()
    }

    /// Takes away the upload sessions of repositories with two parts in their name that were begun
    /// so long ago: the registry answers a DELETE by 404 where a PUT has broken off.
    pub fn sweep_sessions(&self, age: Duration) {
        let all = |below: Vec<PathBuf>| below.into_iter().flat_map(|folder| folders(&folder));
        let repositories = all(folders(&self.repository(""))).map(|it| it.join("_uploads"));
        for session in all(repositories.collect()) {
            let begun = fs::metadata(session.join("startedat")).and_then(|it| it.modified());
            if begun.is_ok_and(|begun| begun.elapsed().is_ok_and(|old| old > age)) {
                let _ = fs::remove_dir_all(session);
            }
        }
    }

    /// The folders of layers that have no link yet: links that are being written.
    pub fn unlinked_folders(&self) -> Vec<String> {
        let all = listing(&self.root);
        let is_layer = |path: &str| {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            parent.ends_with("/_layers/sha256")
        };
        let paths = all.keys().filter(|path| is_layer(path));
        let paths = paths.filter(|path| !all.contains_key(&format!("{path}/link")));
        paths.cloned().collect()
    }

    /// The temporary files that a link may leave behind.
    pub fn stray_files(&self) -> Vec<String> {
        let mut files = self.files();
        files.retain(|file| file.contains("/_layers/") && !file.ends_with("/link"));
        files
    }
}

/// The folders that `folder` has, by name.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.is_dir()).collect()
}

/// All that lies below `folder`, for a comparison of before and after.
pub fn listing(folder: &Path) -> BTreeMap<String, Trace> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries.map(Result::unwrap) {
            let path = entry.path();
            let Ok(about) = fs::symlink_metadata(&path) else {
                continue;
            };
            if about.is_dir() {
                open.push(path.clone());
            }
            let name = path.strip_prefix(folder).unwrap();
            found.insert(name.to_string_lossy().into_owned(), trace(&about));
        }
    }
    found
}

/// Sets both times of a file: a filesystem in user space may ignore one alone.
pub fn set_times(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(path).unwrap();
    let times = FileTimes::new().set_accessed(time).set_modified(time);
    file.set_times(times).unwrap();
}

pub fn trace_of(path: &Path) -> Trace {
    trace(&fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn trace(about: &fs::Metadata) -> Trace {
    Trace {
        inode: about.ino(),
        size: about.size(),
        mtime: (about.mtime(), about.mtime_nsec()),
        mode: about.mode(),
    }
}
