//! A CI runner that has just been made: the clients of a Debian release, and no state of theirs.

use super::{tools, wait_until};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Which release `tests/client-roots.sh` has made, and the tests are to use.
pub fn release() -> String {
    std::env::var("CROSSMOUNT_CLIENTS").unwrap_or_else(|_| "trixie".to_owned())
}

fn root() -> PathBuf {
    tools::folder().join(format!("clients-{}", release()))
}

/// Whether there can be runners; says why not.
pub fn can_run() -> bool {
    let needed = [
        "docker-registry",
        "htpasswd",
        "openssl",
        "unshare",
        "nsenter",
    ];
    if !tools::have(&needed) {
        return false;
    }
    if !tools::is_root() || !root().is_dir() {
        tools::skip("runners need root and what tests/client-roots.sh makes");
        return false;
    }
    true
}

/// Whether the release has this program.
pub fn has(program: &str) -> bool {
    let mut folders = ["usr/bin", "usr/sbin"].iter();
    folders.any(|folder| root().join(folder).join(program).exists())
}

/// The release's file system is only read. What clients write is in memory, or in the runner's
/// own `/tmp`. containerd and podman want `/` to be a mount.
const INIT: &str = "set -e
    mount --bind \"$1\" \"$1\"
    cd \"$1\"
    mount -t proc proc proc
    mount --rbind /dev dev
    mount --rbind /sys sys
    for folder in run root var/cache var/lib/containers var/lib/containerd var/lib/docker var/tmp; do
      mkdir -p $folder
      mount -t tmpfs tmpfs $folder
    done
    mount --bind \"$2\" tmp
    mount -o remount,bind,ro .
    exec chroot . /bin/sh -c 'cd /tmp; echo ready; exec cat >/dev/null'";

pub struct Runner {
    home: TempDir,
    init: Child,
    /// The first process within.
    first: String,
    daemons: Vec<Child>,
}

impl Runner {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut init = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .args(["--propagation", "private", "sh", "-c", INIT, "sh"])
            .args([&root(), home.path()])
            // The runner ends with it, and so with the test process.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = init.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the runner does not start");
        let children = format!("/proc/{0}/task/{0}/children", init.id());
        let first = fs::read_to_string(children).unwrap().trim().to_owned();
        Self {
            home,
            init,
            first,
            daemons: Vec::new(),
        }
    }

    /// Its `/tmp`, as this machine sees it.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.first, "--mount", "--pid", "--root"])
            .args(["--wd", "--"])
            .args(line)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("TMPDIR", "/tmp")
            .stdin(Stdio::null());
        if self.home.path().join(AUTHORITY).exists() {
            command.env("SSL_CERT_FILE", format!("/tmp/{AUTHORITY}"));
        }
        command
    }

    /// Has its clients trust what this certificate's key has signed, and nothing else.
    pub fn trust(&self, authority: &Path) {
        fs::copy(authority, self.home.path().join(AUTHORITY)).unwrap();
    }

    pub fn try_run(&self, line: &[&str]) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs a program, which must succeed; what it wrote.
    #[track_caller]
    pub fn run(&self, line: &[&str]) -> String {
        let output = self.try_run(line);
        assert!(
            output.status.success(),
            "{line:?}: {}{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.logs(),
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Starts a program that ends with the runner, and waits until another one succeeds.
    pub fn daemon(&mut self, line: &[&str], ready: &[&str]) {
        let log = File::create(self.home.path().join("daemon.log")).unwrap();
        let mut command = self.command(line);
        command.stdout(Stdio::null()).stderr(log);
        self.daemons.push(command.spawn().unwrap());
        wait_until(&format!("{line:?} answers"), || {
            let ended = self.daemons.last_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{line:?} ended: {}", self.logs());
            self.try_run(ready).status.success()
        });
    }

    /// The end of what the last daemon wrote.
    fn logs(&self) -> String {
        let log = fs::read_to_string(self.home.path().join("daemon.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

const AUTHORITY: &str = "authority.pem";

impl Drop for Runner {
    fn drop(&mut self) {
        // Its first process ends with it, and with that one all processes within.
        let _ = self.init.kill();
        let _ = self.init.wait();
        for daemon in &mut self.daemons {
            let _ = daemon.wait();
        }
    }
}
