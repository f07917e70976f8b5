//! Filesystems that a test mounts, and that are unmounted when it ends, by a panic too.

use super::store::Store;
use super::{tools, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Leaves the test where nothing can be mounted.
#[macro_export]
macro_rules! needs_mounts {
    () => {
        if !$crate::support::filesystems::can_mount() {
            return;
        }
    };
}

/// Whether this user may mount here; says so where not.
pub fn can_mount() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    let can = *CAN.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        tools::is_root()
            && mount(&["-t", "tmpfs", "-o", "size=64k", "none"], place.path())
            && unmount(place.path())
    });
    if !can {
        tools::skip("only root can mount, and not in every container");
    }
    can
}

/// A folder with a filesystem on it.
#[derive(Debug)]
pub struct MountedFilesystem {
    pub place: PathBuf,
}

impl MountedFilesystem {
    /// A filesystem in memory, with options such as `size=8m`.
    pub fn in_memory(place: &Path, options: &str) -> Self {
        Self::by(&["-t", "tmpfs", "-o", options, "none"], place)
    }

    /// Another folder, seen here too.
    pub fn mirroring(folder: &Path, place: &Path) -> Self {
        Self::by(&["--bind", &folder.to_string_lossy()], place)
    }

    fn by(arguments: &[&str], place: &Path) -> Self {
        fs::create_dir_all(place).unwrap();
        assert!(mount(arguments, place), "mount {arguments:?}");
        Self {
            place: place.to_owned(),
        }
    }

    /// Mounts it again with this option, such as `ro`, once no file there is open for writing.
    pub fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        wait_until("it is mounted again", || {
            mount(&["-o", &option], &self.place)
        });
    }
}

impl Drop for MountedFilesystem {
    fn drop(&mut self) {
        // Whoever still uses it goes on with it.
        unmount(&self.place);
    }
}

fn mount(arguments: &[&str], place: &Path) -> bool {
    let mut command = Command::new("mount");
    quiet(command.args(arguments).arg(place))
}

fn unmount(place: &Path) -> bool {
    quiet(Command::new("umount").arg("-l").arg(place))
}

fn quiet(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A filesystem that a process of its own serves, as a network's does.
#[derive(Debug)]
pub struct FuseFilesystem {
    pub place: PathBuf,
    process: Child,
    /// Its number in the kernel's list of such filesystems.
    number: u32,
}

impl FuseFilesystem {
    /// `command` serves in the foreground what appears at `place`.
    pub fn by(command: &mut Command, place: &Path, log: &Path) -> Self {
        fs::create_dir_all(place).unwrap();
        let parent = fs::metadata(place.parent().unwrap()).unwrap().dev();
        let log = File::create(log).unwrap();
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut served = Self {
            place: place.to_owned(),
            process,
            number: 0,
        };
        wait_until("it is mounted", || {
            if let Some(status) = served.process.try_wait().unwrap() {
                panic!("{command:?} ended with {status}");
            }
            let device = fs::metadata(place).map_or(parent, |about| about.dev());
            served.number = rustix::fs::minor(device);
            device != parent
        });
        served
    }

    /// A folder that is seen at `place` too, by calls that can be made to hang.
    pub fn mirror(folder: &Path, place: &Path) -> Self {
        let mut command = Command::new("bindfs");
        // Nothing is answered from a memory: while it hangs, every call hangs.
        command.args(["-f", "-o", "attr_timeout=0,entry_timeout=0"]);
        command.arg(folder).arg(place);
        Self::by(&mut command, place, &place.with_extension("log"))
    }

    /// A store on a filesystem where every file has a name, and a rename always replaces, as on a
    /// network's. It goes after what uses it, and before its folder.
    pub fn of_names_only() -> (Self, Store, TempDir) {
        let home = tempfile::tempdir().unwrap();
        let (folder, place) = (home.path().join("folder"), home.path().join("seen"));
        fs::create_dir(&folder).unwrap();
        let seen = Self::mirror(&folder, &place);
        let store = Store::new(&place);
        (seen, store, home)
    }

    /// From now on no call there returns.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// The same, at a moment at which the process has taken no call. A thread whose call it has taken
    /// does not end before the answer, not even when its process is killed.
    pub fn hang_between_calls(&self) {
        let home = tempfile::tempdir().unwrap();
        let list = MountedFilesystem::by(&["-t", "fusectl", "none"], home.path());
        let calls = list.place.join(self.number.to_string()).join("waiting");
        let state = format!("/proc/{}/stat", self.process.id());
        wait_until("it hangs between two calls", || {
            self.hang();
            wait_until("its process is stopped", || {
                fs::read_to_string(&state).unwrap().contains(") T ")
            });
            let is_between = fs::read_to_string(&calls).unwrap().trim() == "0";
            if !is_between {
                self.go_on();
            }
            is_between
        });
    }

    /// Calls return again, also those that wait.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for FuseFilesystem {
    fn drop(&mut self) {
        // Its end lets go of every call that waits for it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        unmount(&self.place);
    }
}
