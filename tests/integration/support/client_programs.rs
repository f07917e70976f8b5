//! Real clients, each with a home of its own.

use super::PATIENCE;
use super::image::Image;
use super::tools::{self, run};
use serde_json::json;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// skopeo with a home of its own.
pub struct Skopeo {
    home: TempDir,
}

/// Root's blob-info cache has one fixed place; anybody else's is in their home.
const NOBODY: u32 = 65_534;

impl Skopeo {
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        if tools::is_root() {
            chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self { home }
    }

    pub fn command(&self) -> Command {
        let mut skopeo = Command::new("skopeo");
        if tools::is_root() {
            skopeo.uid(NOBODY).gid(NOBODY);
        }
        for name in ["HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "TMPDIR"] {
            skopeo.env(name, self.home.path());
        }
        skopeo
            .env_remove("REGISTRY_AUTH_FILE")
            .current_dir(self.home.path())
            .arg("--insecure-policy");
        skopeo
    }

    /// Writes the image where skopeo can read it.
    pub fn layout(&self, image: &Image, name: &str) -> String {
        let folder = self.home.path().join(name);
        image.write_layout(&folder);
        if tools::is_root() {
            run(Command::new("chown")
                .arg("-R")
                .arg(format!("{NOBODY}:{NOBODY}"))
                .arg(&folder));
        }
        format!("oci:{}:v1", folder.display())
    }

    pub fn copy(&self, from: &str, to: &str) {
        run(self
            .command()
            .args(["copy", "--dest-tls-verify=false", "--src-tls-verify=false"])
            .args([from, to]));
    }
}

/// An image on a port, as these clients name it.
pub fn at(port: u16, image: &str) -> String {
    format!("docker://127.0.0.1:{port}/{image}")
}

/// podman or buildah with storage of its own.
pub struct Storage {
    home: TempDir,
    tool: &'static str,
}

impl Storage {
    pub fn new(tool: &'static str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let policy = json!({"default": [{"type": "insecureAcceptAnything"}]});
        fs::write(home.path().join("policy.json"), policy.to_string()).unwrap();
        Self { home, tool }
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn run(&self, args: &[&str]) -> String {
        let mut command = Command::new(self.tool);
        command
            .arg("--root")
            .arg(self.folder("root"))
            .arg("--runroot")
            .arg(self.folder("runroot"))
            .args(["--storage-driver", "vfs"])
            .args(args)
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .env_remove("REGISTRY_AUTH_FILE");
        let output = run(&mut command);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// ctr with a containerd of its own.
pub struct Ctr {
    home: TempDir,
    daemon: Child,
}

impl Ctr {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let place = |name: &str| home.path().join(name);
        // What pulls and pushes needs no more.
        let config = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        fs::write(place("config.toml"), config).unwrap();
        let log = fs::File::create(place("log")).unwrap();
        let daemon = Command::new("containerd")
            .arg("--config")
            .arg(place("config.toml"))
            .arg("--root")
            .arg(place("root"))
            .arg("--state")
            .arg(place("state"))
            .arg("--address")
            .arg(place("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let ctr = Self { home, daemon };
        let start = Instant::now();
        while !ctr.try_run(&["version"]).status.success() {
            assert!(start.elapsed() < PATIENCE, "containerd does not answer");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        ctr
    }

    pub fn try_run(&self, args: &[&str]) -> Output {
        Command::new("ctr")
            .arg("--address")
            .arg(self.home.path().join("socket"))
            .args(args)
            .env("TMPDIR", self.home.path())
            .output()
            .unwrap()
    }

    pub fn run(&self, args: &[&str]) {
        let output = self.try_run(args);
        assert!(output.status.success(), "ctr {args:?}: {output:?}");
    }
}

impl Drop for Ctr {
    fn drop(&mut self) {
        // Its own child: nobody else's process can have the number yet.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// docker with a daemon of its own, which knows no other registry and keeps nothing.
pub struct Docker {
    home: TempDir,
    daemon: Child,
}

impl Docker {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let place = |name: &str| home.path().join(name);
        let log = fs::File::create(place("log")).unwrap();
        let daemon = Command::new("dockerd")
            .args(["--storage-driver", "vfs", "--bridge=none"])
            .args(["--iptables=false", "--ip6tables=false"])
            .arg("--data-root")
            .arg(place("data"))
            .arg("--exec-root")
            .arg(place("exec"))
            .arg("--pidfile")
            .arg(place("pid"))
            .arg("--host")
            .arg(format!("unix://{}", place("socket").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let docker = Self { home, daemon };
        let start = Instant::now();
        while !docker.try_run(&["version"]).status.success() {
            let log = fs::read_to_string(docker.home.path().join("log")).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "dockerd does not answer: {log}");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        docker
    }

    fn try_run(&self, args: &[&str]) -> Output {
        let socket = self.home.path().join("socket");
        Command::new("/usr/bin/docker")
            .arg("--host")
            .arg(format!("unix://{}", socket.display()))
            .args(args)
            .env("HOME", self.home.path())
            .env("DOCKER_CONFIG", self.home.path().join("config"))
            .output()
            .unwrap()
    }

    pub fn run(&self, args: &[&str]) {
        let output = self.try_run(args);
        assert!(output.status.success(), "docker {args:?}: {output:?}");
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It ends its containerd itself; killed, it would leave it behind.
        let id = rustix::process::Pid::from_child(&self.daemon);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.daemon.wait();
    }
}
