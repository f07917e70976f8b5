//! The registry's garbage collector, which is held while it deletes.

use crate::support;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use support::registry::Registry;
use support::store::Store;
use support::{bytes_from, digest_of, tools};

/// More layers that nobody names than a pipe takes lines about.
const GARBAGE: usize = 2000;

/// The collector writes a line before each deletion, and waits while nobody reads them.
pub struct Collector {
    process: Child,
    output: BufReader<ChildStdout>,
}

/// Plants layers that no repository knows.
pub fn plant_garbage(store: &Store, seed: &str) {
    for at in 0..GARBAGE {
        let bytes = bytes_from(&format!("{seed} {at}"), 32);
        let data = store.data(&digest_of(&bytes));
        std::fs::create_dir_all(data.parent().unwrap()).unwrap();
        std::fs::write(data, bytes).unwrap();
    }
}

impl Collector {
    /// Begins, and goes on until it has marked what stays and is deleting the rest.
    pub fn begin(registry: &Registry, deletes_untagged: bool) -> Self {
        let mut command = Command::new(tools::find("docker-registry").unwrap());
        command.arg("garbage-collect");
        if deletes_untagged {
            command.arg("--delete-untagged");
        }
        let mut process = command
            .arg(registry.home().join("config.yml"))
            .env_remove("AWS_CA_BUNDLE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("blobs marked") {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "it marked nothing");
        }
        Self { process, output }
    }

    /// Lets it go on to its end.
    pub fn finish(mut self) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
        let lines = rest
            .lines()
            .filter(|line| line.starts_with("blob eligible"));
        assert!(lines.count() >= GARBAGE - 100, "{rest}");
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
