//! A real docker-registry over a temporary root.

use super::registry_client::Client;
use super::store::Store;
use super::{free_port, raw_http, tools, wait_until};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Registry {
    pub port: u16,
    pub store: Store,
    /// Its configuration; a change counts from the next start.
    pub config: Value,
    /// As whom it runs from the next start on, where that is somebody else.
    pub user: Option<u32>,
    home: TempDir,
    process: Option<Child>,
}

impl Registry {
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    /// `change` edits the configuration before the start.
    pub fn with(change: impl FnOnce(&mut Value)) -> Self {
        let mut registry = Self::prepared(change);
        registry.resume();
        registry
    }

    /// A registry that is not started yet: its root does not exist either.
    pub fn prepared(change: impl FnOnce(&mut Value)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(&home.path().join("root"));
        let port = free_port();
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": true}},
            "storage": {
                "filesystem": {"rootdirectory": store.root},
                "delete": {"enabled": true},
            },
            "http": {
                "addr": format!("127.0.0.1:{port}"),
                "secret": "one secret for every registry of a test",
                "headers": {"X-Content-Type-Options": ["nosniff"]},
            },
        });
        change(&mut config);
        Self {
            port,
            store,
            config,
            user: None,
            home,
            process: None,
        }
    }

    /// The registry's descriptor cache, which vouches for blobs without looking at the disk.
    pub fn with_hot_cache() -> Self {
        Self::with(|config| config["storage"]["cache"] = json!({"blobdescriptor": "inmemory"}))
    }

    /// Access by htpasswd, for `users` and their passwords.
    pub fn with_htpasswd(users: &[(&str, &str)]) -> Self {
        let mut registry = Self::prepared(|_| ());
        registry.demand_passwords(users);
        registry.resume();
        registry
    }

    /// Switches the next start to access by htpasswd.
    pub fn demand_passwords(&mut self, users: &[(&str, &str)]) {
        let file = self.home.path().join("htpasswd");
        let lines: String = users
            .iter()
            .map(|(user, password)| {
                let entry =
                    tools::run(Command::new("htpasswd").args(["-nbB", "-C", "4", user, password]));
                String::from_utf8(entry.stdout).unwrap().trim().to_owned() + "\n"
            })
            .collect();
        fs::write(&file, lines).unwrap();
        self.config["auth"] = json!({"htpasswd": {"realm": "the realm", "path": file}});
    }

    /// Switches the next start to read-only, as for a garbage collection.
    pub fn read_only(&mut self, on: bool) {
        self.config["storage"]["maintenance"] = json!({"readonly": {"enabled": on}});
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A client that talks to the registry itself, past the sidecar.
    pub fn client(&self) -> Client {
        Client::new(self.port)
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Everything that the registry wrote to its output, from its first start on.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("log")
    }

    /// Of the process, which must run.
    #[track_caller]
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Starts the process with the configuration as it is now, on the same port.
    pub fn resume(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let file = self.home.path().join("config.yml");
        // JSON is YAML too.
        fs::write(&file, self.config.to_string()).unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        let mut command = Command::new(tools::find("docker-registry").unwrap());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        let mut process = command
            .arg("serve")
            .arg(&file)
            // It panics where this is set, even without the storage driver that reads it.
            .env_remove("AWS_CA_BUNDLE")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let socket = self.config["http"]["addr"].as_str().unwrap().to_owned();
        wait_until("the registry answers", || {
            if let Some(status) = process.try_wait().unwrap() {
                panic!("the registry ended with {status}:\n{}", self.log());
            }
            if self.config["http"]["net"] == "unix" {
                return std::os::unix::net::UnixStream::connect(&socket).is_ok();
            }
            raw_http::Connection::to(self.port).is_ok()
        });
        self.process = Some(process);
    }

    /// Ends the process at once; its open connections break.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Stops the process where it stands: its connections stay, and nothing is answered.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// Asks the process to end.
    pub fn end(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let process = self.process.as_ref().expect("it runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(process), signal).unwrap();
    }

    pub fn restart(&mut self) {
        self.kill();
        self.resume();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(15).collect();
            eprintln!("--- the registry's log, newest first:\n{}", tail.join("\n"));
        }
    }
}
