//! The program run to its end, by a configuration that is good but for what a test changes.

use super::registry::Registry;
use super::sidecar::{BINARY, command, config};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs the binary to its end, which must come soon.
#[track_caller]
pub fn run(command: Command) -> Ended {
    // Under a second is the promise; the machines that run this are noisy.
    run_within(Duration::from_secs(5), command)
}

/// Runs the binary to its end, which must come in this time.
#[track_caller]
pub fn run_within(limit: Duration, mut command: Command) -> Ended {
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > limit {
            process.kill().unwrap();
            process.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (mut out, mut err) = (String::new(), String::new());
    process.stdout.unwrap().read_to_string(&mut out).unwrap();
    process.stderr.unwrap().read_to_string(&mut err).unwrap();
    let Some(status) = status else {
        panic!("still running after {limit:?}:\n{out}\n{err}");
    };
    Ended {
        code: status.code(),
        out,
        err,
    }
}

/// `crossmount check` in front of this registry and its store. `change` edits the configuration.
pub fn check_command(registry: &Registry, change: impl FnOnce(&mut Value)) -> Command {
    let mut config = config(&registry.url(), &registry.store.root);
    fs::create_dir_all(&registry.store.root).unwrap();
    change(&mut config);
    let file = registry.home().join("crossmount.yml");
    fs::write(&file, config.to_string()).unwrap();
    let mut command = command(BINARY);
    command.arg("check").arg("--config").arg(&file);
    command
}

/// The same, run to its end.
#[track_caller]
pub fn check(registry: &Registry, change: impl FnOnce(&mut Value)) -> Ended {
    run(check_command(registry, change))
}

/// A start that fails with one clear line that says all of `words`, of `one|other` one or the other.
#[track_caller]
pub fn refuses(command: Command, words: &[&str]) {
    let ended = run(command);
    let err = &ended.err;
    assert!(
        ended.code.is_some_and(|code| code != 0),
        "{:?}\n{err}",
        ended.code
    );
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.starts_with("crossmount: "), "{err}");
    assert!(!err.contains("panicked"), "{err}");
    assert_eq!(ended.out, "");
    for word in words {
        let said = word.split('|').any(|word| err.contains(word));
        assert!(said, "no {word:?} in: {err}");
    }
}

pub struct Home(pub tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.root()).unwrap();
        home
    }

    pub fn root(&self) -> std::path::PathBuf {
        self.0.path().join("root")
    }

    /// `serve` or `check` with this text as configuration; `ROOT` stands for a good folder.
    pub fn with(&self, verb: &str, text: &str) -> Command {
        let file = self.0.path().join("crossmount.yml");
        let text = text.replace("ROOT", &self.root().to_string_lossy());
        fs::write(&file, text).unwrap();
        let mut command = command(BINARY);
        command.arg(verb).arg("--config").arg(file);
        command
    }
}

pub const GOOD: &str = "\
listen: {address: '127.0.0.1:0'}
admin: {address: '127.0.0.1:0'}
upstream: {url: 'http://127.0.0.1:1'}
store: {filesystem: {rootdirectory: 'ROOT'}}
access: {mode: none}
";
