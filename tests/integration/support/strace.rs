//! The sidecar under strace: which system calls it makes, and faults injected into them.

use super::registry::Registry;
use super::sidecar::{self, Sidecar};
use super::wait_until;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Calls that change what lies under a name, or could do so unseen.
const WRITES: &[&str] = &[
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "mknod",
    "mknodat",
    "creat",
    "truncate",
    "ftruncate",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utime",
    "utimes",
    "utimensat",
    "setxattr",
    "fallocate",
    "io_uring_setup",
];

/// The calls that write a link's bytes to the disk, on any filesystem: `FIEMAP` is an ioctl.
pub const WRITE_OUT: &str = "fsync,fdatasync,ioctl";

/// One system call that names files.
#[derive(Debug, Clone)]
pub struct SystemCall {
    pub name: String,
    pub paths: Vec<PathBuf>,
    pub line: String,
}

impl SystemCall {
    pub fn writes(&self) -> bool {
        let flags = [
            "O_WRONLY",
            "O_RDWR",
            "O_CREAT",
            "O_TRUNC",
            "O_APPEND",
            "O_TMPFILE",
        ];
        let opens = self.name.starts_with("open");
        WRITES.contains(&&*self.name) || opens && flags.iter().any(|flag| self.line.contains(flag))
    }
}

/// The sidecar's command under strace, which breaks system calls by rules such as
/// `fsync:error=EIO`; `log` is where it notes them.
pub fn inject_faults(faults: &[&str], log: &Path) -> Command {
    let calls: Vec<_> = faults
        .iter()
        .map(|fault| fault.split(':').next().unwrap())
        .collect();
    record_calls(&calls.join(","), faults, log)
}

/// The sidecar's command under strace, which notes these calls in `log` and breaks some of them.
pub fn record_calls(calls: &str, faults: &[&str], log: &Path) -> Command {
    record_calls_at(&[], calls, faults, log)
}

/// The same for those calls alone that name one of these paths, or go out from an open folder there.
pub fn record_calls_at(places: &[&Path], calls: &str, faults: &[&str], log: &Path) -> Command {
    let mut command = sidecar::command("strace");
    // With -D the child is the sidecar itself, and strace ends with it.
    command
        .args(["-D", "-f", "-y", "-s", "4096", "-o"])
        .arg(log);
    for place in places {
        command.arg("-P").arg(place);
    }
    for fault in faults {
        command.args(["-e", &format!("inject={fault}")]);
    }
    command.args(["-e", &format!("trace={calls}")]);
    command.arg(sidecar::BINARY);
    command
}

/// The calls that strace has recorded so far. It lets a thread go on only when its call is noted.
pub fn recorded_calls(log: &Path) -> Vec<SystemCall> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(call).collect()
}

/// How many calls that name a path below `place` strace has made slower. Where another thread's
/// call came between, a line says only that the thread's call has gone on.
pub fn count_delayed(log: &Path, place: &Path) -> usize {
    let text = fs::read_to_string(log).unwrap_or_default();
    let (mut begun, mut count) = (BTreeMap::new(), 0);
    for (line, (thread, call)) in text
        .lines()
        .filter_map(|it| Some((it, it.split_once(' ')?)))
    {
        let is_resumed = call.trim_start().starts_with("<... ");
        let call = if is_resumed {
            begun.remove(thread).unwrap_or_default()
        } else {
            call
        };
        if line.ends_with("<unfinished ...>") {
            begun.insert(thread, call);
        }
        let is_there = call.contains(&*place.to_string_lossy());
        count += usize::from(is_there && line.ends_with("(DELAYED)"));
    }
    count
}

/// The lines of those calls that name a path below `root`.
pub fn lines_below<'a>(root: &Path, calls: &'a [SystemCall]) -> Vec<&'a str> {
    let is_below = |call: &&SystemCall| call.paths.iter().any(|path| path.starts_with(root));
    let lines = calls.iter().filter(is_below);
    lines.map(|call| call.line.as_str()).collect()
}

pub struct StracedSidecar {
    pub sidecar: Sidecar,
    home: TempDir,
}

impl StracedSidecar {
    pub fn start(registry: &Registry, change: impl FnOnce(&mut Value)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut config = sidecar::config(&registry.url(), &registry.store.root);
        fs::create_dir_all(&registry.store.root).unwrap();
        change(&mut config);
        let log = home.path().join("trace");
        let command = record_calls(
            "%file,ftruncate,fchmod,fchown,fallocate,io_uring_setup",
            &[],
            &log,
        );
        Self {
            sidecar: Sidecar::launch(command, &config),
            home,
        }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.home.path().join("trace")).unwrap_or_default()
    }

    /// The calls so far, once none has been added for a while.
    pub fn calls(&self) -> Vec<SystemCall> {
        let (mut seen, mut since) = (usize::MAX, Instant::now());
        wait_until("the trace is quiet", || {
            let length = self.text().len();
            if length != seen {
                (seen, since) = (length, Instant::now());
            }
            since.elapsed() > Duration::from_millis(300)
        });
        self.text().lines().filter_map(call).collect()
    }
}

/// `PID name(AT_FDCWD</folder>, "path", 3</open/file>, …) = …`
fn call(line: &str) -> Option<SystemCall> {
    let (_, rest) = line.split_once(' ')?;
    let (name, arguments) = rest.trim_start().split_once('(')?;
    if !name
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    {
        return None;
    }
    Some(SystemCall {
        name: name.to_owned(),
        paths: paths(arguments),
        line: line.to_owned(),
    })
}

/// Quoted names are joined to the folder whose descriptor stands before them.
fn paths(arguments: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut folder: Option<PathBuf> = None;
    let mut rest = arguments;
    while let Some(at) = rest.find(['"', '<', '=']) {
        let opener = rest.as_bytes()[at];
        if opener == b'=' && !rest[..at].ends_with(") ") {
            rest = &rest[at + 1..];
            continue;
        }
        let closer = match opener {
            b'"' => '"',
            b'<' => '>',
            _ => break,
        };
        let Some((inner, after)) = rest[at + 1..].split_once(closer) else {
            break;
        };
        if opener == b'"' {
            let base = folder.take().unwrap_or_default();
            found.push(base.join(inner));
        } else if inner.starts_with('/')
            && let Some(folder) = folder.replace(Path::new(inner).to_owned())
        {
            found.push(folder);
        }
        rest = after;
    }
    found.extend(folder);
    found
}
