//! Two hosts on one network filesystem, each with a registry and a sidecar of its own.

use crate::support::mounted::Served;
use crate::support::played::Played;
use crate::support::registry::Registry;
use crate::support::sidecar::Sidecar;
use crate::support::store::{Store, trace_of};
use crate::support::traced::with_faults;
use crate::support::{figures, free_port, wait_until, wire};
use crate::{needs, needs_mounts};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

const BLOB: &[u8] = b"a blob that two hosts see";

/// The server of a GlusterFS volume of one brick.
struct Brick(Child);

impl Drop for Brick {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One host: its own view of the volume, its own registry and sidecar.
struct Host {
    _seen: Served,
    sidecar: Sidecar,
    registry: Registry,
}

struct Cluster {
    hosts: [Host; 2],
    _brick: Brick,
    brick: Store,
    _home: TempDir,
}

fn volume(name: &str, kind: &str, options: &[(&str, &str)], below: Option<&str>) -> String {
    let mut text = format!("volume {name}\n  type {kind}\n");
    for (option, value) in options {
        text += &format!("  option {option} {value}\n");
    }
    if let Some(below) = below {
        text += &format!("  subvolumes {below}\n");
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
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let brick = Store::new(&at("brick"));
        let port = free_port();
        fs::create_dir(&brick.root).unwrap();
        fs::write(at("server.vol"), server(&brick.root, &port.to_string())).unwrap();
        fs::write(at("client.vol"), client(&port.to_string())).unwrap();
        let mut command = gluster("glusterfsd", &at("server.vol"), &at("server.log"));
        let process = Brick(command.spawn().unwrap());
        wait_until("the brick is served", || wire::Connection::to(port).is_ok());
        let host = |name: &str| {
            let (place, log) = (at(name), at(&format!("{name}.log")));
            let mut command = gluster("glusterfs", &at("client.vol"), &log);
            command.arg(&place);
            let output = at(&format!("{name}.out"));
            Host::on(Served::by(&mut command, &place, &output))
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
    fn on(seen: Served) -> Self {
        let mut registry = Registry::prepared(|config| {
            config["storage"]["filesystem"]["rootdirectory"] = json!(seen.place);
        });
        registry.store = Store::new(&seen.place);
        registry.resume();
        Self {
            sidecar: Sidecar::proved(&registry),
            _seen: seen,
            registry,
        }
    }

    /// Both ways to a blob on this host.
    #[track_caller]
    fn answers(&self, repository: &str, digest: &str, status: u16) {
        for client in [self.registry.client(), self.sidecar.client()] {
            let answer = client.blob(repository, digest).expect(status);
            assert_eq!(answer.body == BLOB, status == 200, "{repository}");
        }
    }

    #[track_caller]
    fn mounts_itself(&self, target: &str, digest: &str, source: &str) {
        let before = self.sidecar.mounted();
        let answer = self.sidecar.client().mount(target, digest, source);
        answer.expect(201);
        let all = self.sidecar.all_mounts();
        assert_eq!(self.sidecar.mounted(), before + 1, "{target}: {all:?}");
    }
}

#[test]
fn a_mount_by_one_host_is_served_by_the_other_which_had_looked_for_it_before() {
    needs!("docker-registry", "glusterfs", "glusterfsd");
    needs_mounts!();
    let times = figures::amount(10, 300);
    let cluster = Cluster::start();
    let digest = cluster.hosts[0].sidecar.client().upload("source", BLOB);
    for time in 0..times {
        let [one, two] = &cluster.hosts;
        let (one, two) = if time % 2 == 0 {
            (one, two)
        } else {
            (two, one)
        };
        let (target, next) = (format!("target/{time}"), format!("next/{time}"));
        two.answers(&target, &digest, 404);
        one.mounts_itself(&target, &digest, "source");
        two.answers(&target, &digest, 200);
        one.answers(&next, &digest, 404);
        two.mounts_itself(&next, &digest, &target);
        one.answers(&next, &digest, 200);
        let link = fs::read_to_string(cluster.brick.link(&next, &digest)).unwrap();
        assert_eq!(link, digest);
    }
    let happened = "each served at once by the other host's registry, which had looked for it and \
                    found nothing, and mounted from there by the other's sidecar";
    let tried = "mounts by one of two hosts on one GlusterFS volume";
    figures::note("Storage", tried, times * 2, happened);
}

#[test]
fn two_hosts_that_mount_the_same_at_once_have_one_whole_link_that_both_serve() {
    needs!("docker-registry", "glusterfs", "glusterfsd");
    needs_mounts!();
    let times = figures::amount(10, 200);
    let (left, stale) = (AtomicU64::new(0), AtomicU64::new(0));
    let cluster = Cluster::start();
    let digest = cluster.hosts[0].sidecar.client().upload("source", BLOB);
    for time in 0..times {
        let target = format!("both/{time}/deep/down");
        std::thread::scope(|scope| {
            for host in &cluster.hosts {
                let (target, digest) = (&target, &digest);
                let (left, stale) = (&left, &stale);
                scope.spawn(move || {
                    let client = host.sidecar.client();
                    // A handle that is stale on one host leaves its mount to the registry.
                    let mount = || client.mount(target, digest, "source").status;
                    left.fetch_add(u64::from(mount() != 201), Ordering::Relaxed);
                    wait_until("the mount is made", || mount() == 201);
                    let read = || client.blob(target, digest).status;
                    stale.fetch_add(u64::from(read() != 200), Ordering::Relaxed);
                });
            }
        });
        for host in &cluster.hosts {
            let client = host.sidecar.client();
            wait_until("the link is read", || {
                client.blob(&target, &digest).status == 200
            });
            host.answers(&target, &digest, 200);
        }
        let link = fs::read_to_string(cluster.brick.link(&target, &digest)).unwrap();
        assert_eq!(link, digest);
    }
    assert_eq!(cluster.brick.stray_files(), [""; 0]);
    let happened = format!(
        "one link, whole, served by both, and nothing left beside it; of twice as many mounts {} \
         were left to the registry at first, and {} first reads met a stale handle",
        left.into_inner(),
        stale.into_inner()
    );
    let tried = "the same mount by two hosts on one GlusterFS volume at once";
    figures::note("Storage", tried, times, &happened);
}

#[test]
fn a_link_that_another_host_has_written_meanwhile_is_not_replaced() {
    needs!("strace");
    let registry = Played::start(|_| None);
    let home = tempfile::tempdir().unwrap();
    let slow = "fsync,fdatasync:delay_enter=3000000:when=1";
    let command = with_faults(&[slow], &home.path().join("trace"));
    let sidecar = registry.sidecar_by(command, |config| {
        config["mount"] = json!({"time_budget": "30s"});
    });
    let (client, digest) = (sidecar.client(), registry.plant("source", BLOB));
    let (answer, theirs) = std::thread::scope(|scope| {
        let mount = scope.spawn(|| client.mount("target", &digest, "source"));
        wait_until("the link is being written", || {
            !registry.store.stray_files().is_empty()
        });
        registry.store.plant_link("target", &digest, &digest);
        let theirs = trace_of(&registry.store.link("target", &digest));
        (mount.join().unwrap(), theirs)
    });
    answer.expect(201);
    assert_eq!(trace_of(&registry.store.link("target", &digest)), theirs);
    assert_eq!(registry.store.stray_files(), [""; 0]);
    assert_eq!(sidecar.mounts("already_linked", "none"), 1);
}
