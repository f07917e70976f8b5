//! The real binary, started from a configuration file.

use super::registry::Registry;
use super::registry_client::Client;
use super::version::version;
use super::{PATIENCE, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const BINARY: &str = env!("CARGO_BIN_EXE_crossmount");

pub struct Sidecar {
    pub port: u16,
    pub admin: u16,
    process: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Holds the configuration file, if there is one.
    home: Option<TempDir>,
}

/// The configuration in front of a registry without access control, with a
/// [`generous_time_budget`].
pub fn config(upstream: &str, root: &Path) -> Value {
    let mut config = json!({
        "listen": {"address": "127.0.0.1:0"},
        "admin": {"address": "127.0.0.1:0"},
        "upstream": {
            "url": upstream,
            "response_headers": {"X-Content-Type-Options": ["nosniff"]},
        },
        "store": {"filesystem": {"rootdirectory": root}},
        "access": {"mode": "none"},
    });
    generous_time_budget(&mut config);
    set_version(&mut config);
    config
}

/// The configuration in front of any registry, which makes the mounts itself.
pub fn generic_config(upstream: &str) -> Value {
    json!({
        "listen": {"address": "127.0.0.1:0"},
        "admin": {"address": "127.0.0.1:0"},
        "upstream": {"url": upstream, "kind": "generic"},
    })
}

/// No mount is late on a machine that is busy with other tests.
pub fn generous_time_budget(config: &mut Value) {
    config["mount"]["time_budget"] = json!("30s");
}

/// In front of a registry that mounts itself, there is a budget only with discovery.
pub fn generous_for_discovery(config: &mut Value) {
    if config["discovery"]["enabled"] == true && config["mount"]["time_budget"].is_null() {
        generous_time_budget(config);
    }
}

/// Says which version the registry is, where it is not the one that crossmount expects.
fn set_version(config: &mut Value) {
    if let Some(version) = version().setting() {
        config["upstream"]["version"] = json!(version);
    }
}

/// The binary without the settings that the tests' own environment may hold.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CROSSMOUNT_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

impl Sidecar {
    /// In front of this registry and its store, with `access.mode: none`.
    pub fn start(registry: &Registry) -> Self {
        Self::with(registry, |_| ())
    }

    /// `change` edits the configuration before the start.
    pub fn with(registry: &Registry, change: impl FnOnce(&mut Value)) -> Self {
        let mut config = config(&registry.url(), &registry.store.root);
        fs::create_dir_all(&registry.store.root).unwrap();
        change(&mut config);
        Self::from(&config)
    }

    /// By a configuration that is delivered, but for addresses and folder.
    pub fn with_delivered_config(registry: &Registry, delivered: &Value) -> Self {
        Self::with(registry, |config| {
            let ours = std::mem::replace(config, delivered.clone());
            for key in ["listen", "admin", "store"] {
                config[key] = ours[key].clone();
            }
            config["upstream"]["url"] = ours["upstream"]["url"].clone();
            set_version(config);
        })
    }

    /// As [`Sidecar::start`], and the store is verified: crossmount links the next mount itself.
    pub fn with_verified_store(registry: &Registry) -> Self {
        let sidecar = Self::start(registry);
        sidecar.verify_store();
        sidecar
    }

    /// In front of any registry, by [`generic_config`] with a change.
    pub fn generic(upstream: &str, change: impl FnOnce(&mut Value)) -> Self {
        let mut config = generic_config(upstream);
        change(&mut config);
        generous_for_discovery(&mut config);
        Self::from(&config)
    }

    pub fn from(config: &Value) -> Self {
        Self::launch(command(BINARY), config)
    }

    /// `command` is the binary, or a program that runs it in its own process.
    pub fn launch(mut command: Command, config: &Value) -> Self {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("crossmount.yml");
        // JSON is YAML too.
        fs::write(&file, config.to_string()).unwrap();
        command.args(["serve", "--config"]).arg(&file);
        let mut sidecar = Self::run(command);
        sidecar.home = Some(home);
        sidecar
    }

    /// `command` runs the binary until its standard input ends.
    pub fn launch_held(mut command: Command, config: &Value) -> Self {
        command.stdin(Stdio::piped());
        Self::launch(command, config)
    }

    /// `command` has all of its arguments already.
    pub fn run(mut command: Command) -> Self {
        let mut process = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let mut sidecar = Self {
            port: 0,
            admin: 0,
            process,
            log,
            home: None,
        };
        wait_until("the sidecar listens", || {
            if let Some(status) = sidecar.process.try_wait().unwrap() {
                panic!("the sidecar ended with {status}");
            }
            sidecar.port = sidecar.listening("registry");
            sidecar.admin = sidecar.listening("admin");
            sidecar.port != 0 && sidecar.admin != 0
        });
        sidecar
    }

    fn listening(&self, whom: &str) -> u16 {
        let address = |line: &String| {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                // A log of format text.
                let (_, rest) =
                    line.split_once(&format!("listening listener=\"{whom}\" address="))?;
                return rest.split(' ').next().map(str::to_owned);
            };
            let is_it = line["message"] == "listening" && line["listener"] == whom;
            line["address"]
                .as_str()
                .filter(|_| is_it)
                .map(str::to_owned)
        };
        let log = self.log.lock().unwrap();
        log.iter()
            .find_map(address)
            .and_then(|address| address.rsplit(':').next()?.parse().ok())
            .unwrap_or(0)
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn client(&self) -> Client {
        Client::new(self.port)
    }

    /// A line of /proc/PID/status in kB: `VmRSS`, or its peak `VmHWM`.
    pub fn memory(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        status
            .lines()
            .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or_else(|| panic!("no {line} in:\n{status}"))
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the sidecar does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the sidecar's log:\n{}", self.log());
        }
    }
}
