//! A grant that is on its way ends when what it rests on does, up to the moment of the rename; what
//! only has to be asked anew in time ends none.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::access_control::BLOB;
use support::registry::Registry;
use support::registry_client::Client;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::{self, Sidecar, generous_time_budget};
use support::strace::inject_faults;
use support::wait_until;

/// A registry that knows alice and bob, and a sidecar whose disk is slow to sync a link.
struct Slow {
    registry: Registry,
    sidecar: Sidecar,
    alice: Client,
    bob: Client,
    digest: String,
}

impl Slow {
    /// Passwords are checked here by a copy of the registry's file, or by the registry itself.
    fn start(disk_takes: Duration, is_here: bool, change: impl FnOnce(&mut Value)) -> Self {
        let registry = Registry::with_htpasswd(&[("alice", "right"), ("bob", "b")]);
        let mine = registry.home().join("copy");
        fs::copy(theirs(&registry), &mine).unwrap();
        let digest = registry.client().basic("bob", "b").upload("source", BLOB);
        let mut config = sidecar::config(&registry.url(), &registry.store.root);
        config["access"] = if is_here {
            json!({"mode": "htpasswd", "htpasswd": {"path": mine}})
        } else {
            json!({"mode": "upstream"})
        };
        config["store"]["durability"] = json!("file");
        change(&mut config);
        let slow = format!("fsync,fdatasync:delay_enter={}", disk_takes.as_micros());
        let command = inject_faults(&[&slow], &registry.home().join("trace"));
        let sidecar = Sidecar::launch(command, &config);
        let client = sidecar.client();
        let (alice, bob) = (
            client.clone().basic("alice", "right"),
            client.basic("bob", "b"),
        );
        sidecar.verify_store_as(&bob);
        Self {
            registry,
            sidecar,
            alice,
            bob,
            digest,
        }
    }

    /// Alice's mount while the registry drops her and `meanwhile` happens; her answer's status.
    ///
    /// Bob's mounts keep the registry's word fresh.
    fn mount_while_she_is_dropped(&self, meanwhile: impl FnOnce()) -> u16 {
        let digest = &self.digest;
        std::thread::scope(|scope| {
            let late = scope.spawn(|| self.alice.mount("t0", digest, "source"));
            wait_until("alice's link is being written", || {
                !self.registry.store.unlinked_folders().is_empty()
            });
            let text = fs::read_to_string(theirs(&self.registry)).unwrap();
            fs::write(theirs(&self.registry), text.lines().last().unwrap()).unwrap();
            wait_until("the registry refuses alice", || {
                self.alice.at(self.registry.port).get("/v2/").status == 401
            });
            assert!(!self.registry.store.link("t0", digest).exists());
            meanwhile();
            let mut turn = 0;
            while !late.is_finished() {
                turn += 1;
                scope.spawn(move || self.bob.mount(&format!("b{turn}"), digest, "source"));
                let asked = Instant::now();
                while asked.elapsed() < Duration::from_millis(500) && !late.is_finished() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            late.join().unwrap().status
        })
    }

    #[track_caller]
    fn alice_got_no_link(&self) {
        assert!(!self.registry.store.link("t0", &self.digest).exists());
        assert!(!self.sidecar.log().contains("\"user\":\"alice\""));
    }
}

fn theirs(registry: &Registry) -> PathBuf {
    registry.home().join("htpasswd")
}

#[test]
fn a_refusal_that_is_noticed_in_passing_stops_a_mount_that_is_on_its_way() {
    needs!("docker-registry", "htpasswd", "strace");
    let slow = Slow::start(Duration::from_secs(1), true, |config| {
        config["mount"] = json!({"time_budget": "20s"});
    });
    let status = slow.mount_while_she_is_dropped(|| {
        slow.alice.get("/v2/").expect(401);
        wait_until("it is noticed", || {
            let said = "access decision contradicted by the registry";
            slow.sidecar.log().contains(said)
        });
        // Somebody else's yes does not bring hers back.
        slow.bob.mount("bobs", &slow.digest, "source").expect(201);
    });
    assert_eq!(status, 401);
    slow.alice_got_no_link();
}

#[test]
fn no_link_for_a_password_appears_later_than_the_decision_counts() {
    needs!("docker-registry", "htpasswd", "strace");
    let slow = Slow::start(Duration::from_secs(4), true, |config| {
        generous_time_budget(config);
        config["access"]["decision_ttl"] = json!("2s");
    });
    assert_eq!(slow.mount_while_she_is_dropped(|| ()), 401);
    slow.alice_got_no_link();
}

#[test]
fn no_link_that_the_registry_allowed_appears_later_than_the_decision_counts() {
    needs!("docker-registry", "htpasswd", "strace");
    let slow = Slow::start(Duration::from_secs(4), false, |config| {
        generous_time_budget(config);
        config["access"]["decision_ttl"] = json!("2s");
    });
    assert_eq!(slow.mount_while_she_is_dropped(|| ()), 401);
    slow.alice_got_no_link();
}

/// Mounts into one target for as long as the registry's word must be renewed twice, so that decisions
/// and vouchers are used to their end too; `layer` makes another one in `source`.
fn mounts_go_on(sidecar: &Sidecar, client: &Client, layer: impl Fn(&[u8]) -> String) {
    let (start, mut turn) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(11) {
        turn += 1;
        let digest = layer(format!("layer {turn}").as_bytes());
        let (begun, left) = (Instant::now(), sidecar.mounts_with_reason("timeout"));
        client.mount("target", &digest, "source").expect(201);
        // The machine itself may be slow.
        let is_late = begun.elapsed() > Duration::from_millis(250);
        let all = sidecar.all_mounts();
        assert!(
            is_late || sidecar.mounts_with_reason("timeout") == left,
            "{all:?}"
        );
    }
    assert!(sidecar.mounted() > 10);
}

#[test]
fn mounts_on_a_slow_disk_go_on_while_the_registrys_yes_is_renewed() {
    needs!("docker-registry", "htpasswd", "strace");
    std::thread::scope(|scope| {
        for is_here in [true, false] {
            // The shorter one ends before the registry's word that it is writable.
            for decision_ttl in ["3s", "60s"] {
                scope.spawn(move || {
                    let slow = Slow::start(Duration::from_millis(100), is_here, |config| {
                        config["access"]["decision_ttl"] = json!(decision_ttl);
                    });
                    let straight = slow.bob.at(slow.registry.port);
                    let layer = |bytes: &[u8]| straight.upload("source", bytes);
                    mounts_go_on(&slow.sidecar, &slow.bob, layer);
                });
            }
        }
    });
}

#[test]
fn mounts_on_a_slow_disk_go_on_beside_a_registry_without_access_control() {
    needs!("strace");
    let registry = ScriptedRegistry::start(|_| None);
    let home = tempfile::tempdir().unwrap();
    let slow = "fsync,fdatasync:delay_enter=100000";
    let command = inject_faults(&[slow], &home.path().join("trace"));
    let sidecar = registry.sidecar_by(command, |config| {
        config["store"]["durability"] = json!("file");
    });
    let layer = |bytes: &[u8]| registry.plant("source", bytes);
    mounts_go_on(&sidecar, &sidecar.client(), layer);
}
