//! Two hosts on one `GlusterFS` volume, each with a registry and a sidecar of its own.

use crate::support::filesystems::FuseFilesystem;
use crate::support::registry::Registry;
use crate::support::sidecar::Sidecar;
use crate::support::store::Store;
use crate::support::{free_port, raw_http, wait_until};
use serde_json::json;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub const BLOB: &[u8] = b"a blob that two hosts see";

/// The server of a `GlusterFS` volume of one brick.
struct Brick(Child);

impl Drop for Brick {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One host: its own view of the volume, its own registry and sidecar.
pub struct Host {
    _seen: FuseFilesystem,
    pub sidecar: Sidecar,
    registry: Registry,
}

pub struct Cluster {
    pub hosts: [Host; 2],
    _brick: Brick,
    pub brick: Store,
    _home: TempDir,
}

fn volume(name: &str, kind: &str, options: &[(&str, &str)], below: Option<&str>) -> String {
    let mut text = format!("volume {name}\n  type {kind}\n");
    for (option, value) in options {
        writeln!(text, "  option {option} {value}").unwrap();
    }
    if let Some(below) = below {
        writeln!(text, "  subvolumes {below}").unwrap();
    }
    text + "end-volume\n"
}

fn server(folder: &Path, port: &str) -> String {
    let folder = folder.to_string_lossy();
    [
        volume("posix", "storage/posix", &[("directory", &folder)], None),
        volume("locks", "features/locks", &[], Some("posix")),
        volume("brick", "performance/io-threads", &[], Some("locks")),
        volume(
            "server",
            "protocol/server",
            &[
                ("transport-type", "tcp"),
                ("transport.address-family", "inet"),
                ("transport.socket.bind-address", "127.0.0.1"),
                ("transport.socket.listen-port", port),
                ("auth.addr.brick.allow", "*"),
            ],
            Some("brick"),
        ),
    ]
    .concat()
}

/// With the caches that a volume has by default.
fn client(port: &str) -> String {
    let mut text = volume(
        "remote",
        "protocol/client",
        &[
            ("transport-type", "tcp"),
            ("transport.address-family", "inet"),
            ("remote-host", "127.0.0.1"),
            ("remote-port", port),
            ("remote-subvolume", "brick"),
        ],
        None,
    );
    let mut below = "remote";
    for cache in ["write-behind", "quick-read", "open-behind", "md-cache"] {
        text += &volume(cache, &format!("performance/{cache}"), &[], Some(below));
        below = cache;
    }
    text
}

impl Cluster {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let brick = Store::new(&at("brick"));
        let port = free_port();
        fs::create_dir(&brick.root).unwrap();
        fs::write(at("server.vol"), server(&brick.root, &port.to_string())).unwrap();
        fs::write(at("client.vol"), client(&port.to_string())).unwrap();
        let mut command = gluster("glusterfsd", &at("server.vol"), &at("server.log"));
        let process = Brick(command.spawn().unwrap());
        wait_until("the brick is served", || {
            raw_http::Connection::to(port).is_ok()
        });
        let host = |name: &str| {
            let (place, log) = (at(name), at(&format!("{name}.log")));
            let mut command = gluster("glusterfs", &at("client.vol"), &log);
            command.arg(&place);
            let output = at(&format!("{name}.out"));
            Host::on(FuseFilesystem::by(&mut command, &place, &output))
        };
        Self {
            hosts: [host("one"), host("two")],
            _brick: process,
            brick,
            _home: home,
        }
    }
}

/// The program in the foreground.
fn gluster(program: &str, volumes: &Path, log: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("-N").arg("-f").arg(volumes).arg("-l").arg(log);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl Host {
    fn on(seen: FuseFilesystem) -> Self {
        let mut registry = Registry::prepared(|config| {
            config["storage"]["filesystem"]["rootdirectory"] = json!(seen.place);
        });
        registry.store = Store::new(&seen.place);
        registry.resume();
        Self {
            sidecar: Sidecar::with_verified_store(&registry),
            _seen: seen,
            registry,
        }
    }

    /// Both ways to a blob on this host.
    #[track_caller]
    pub fn answers(&self, repository: &str, digest: &str, status: u16) {
        for client in [self.registry.client(), self.sidecar.client()] {
            let answer = client.blob(repository, digest).expect(status);
            assert_eq!(answer.body == BLOB, status == 200, "{repository}");
        }
    }

    #[track_caller]
    pub fn mounts_itself(&self, target: &str, digest: &str, source: &str) {
        let before = self.sidecar.mounted();
        let answer = self.sidecar.client().mount(target, digest, source);
        answer.expect(201);
        let all = self.sidecar.all_mounts();
        assert_eq!(self.sidecar.mounted(), before + 1, "{target}: {all:?}");
    }
}
