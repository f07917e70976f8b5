//! A filesystem in a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a filesystem may be in use.
const UNMOUNTED: Duration = Duration::from_secs(5);

/// A loop device over a file, and the filesystem on it.
pub struct LoopMount {
    pub place: PathBuf,
}

impl LoopMount {
    /// With options beside `loop`. Gives what `mount` says if the filesystem cannot be mounted.
    pub fn of(file: &Path, place: &Path, options: &str) -> Result<Self, String> {
        fs::create_dir_all(place).unwrap();
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
