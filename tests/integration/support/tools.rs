//! The programs that a test needs: skipped loudly where one is missing, a failure where `CI` is set.

use super::version;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Leaves the test when one of the programs is missing.
#[macro_export]
macro_rules! needs {
    ($($tool:literal),+) => {
        if !$crate::support::tools::have(&[$($tool),+]) {
            return;
        }
    };
}

/// Where a program is. The registry may be another one than Debian's.
pub fn find(tool: &str) -> Option<PathBuf> {
    if tool == "docker-registry"
        && let Some(chosen) = version::chosen()
    {
        return Some(chosen);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .chain([folder().join("bin")])
        .map(|folder| folder.join(tool))
        .find(|file| file.is_file())
}

/// What Debian does not have, and `tests/tools.sh` and `tests/base-image.sh` make.
pub fn folder() -> PathBuf {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = || path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
    path("CROSSMOUNT_TOOLS")
        .or_else(|| Some(cache()?.join("crossmount-tools")))
        .expect("a home")
}

pub fn have(tools: &[&str]) -> bool {
    let missing: Vec<_> = tools.iter().filter(|tool| find(tool).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    skip(&format!("{missing:?} not installed"));
    false
}

/// Says that a test is not run. Written past the test harness, which would swallow it.
pub fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "cannot run here: {why}");
    let test = std::thread::current();
    let name = test.name().unwrap_or("a test");
    let line = format!("SKIPPED {name}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a command to its end and wants it to succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
