//! A sidecar that is killed again and again while many mounts are on their way.
//!
//! Its registry mounts nothing itself, so that every 201 is the sidecar's own word; a real
//! registry reads the same store. A kill takes the process and not the kernel: what a power cut
//! takes cannot be shown so, and is for the tests of what is synced before an answer.

use crate::support::filesystems::FuseFilesystem;
use crate::support::raw_http::Request;
use crate::support::registry::Registry;
use crate::support::registry_client::mount_target;
use crate::support::scripted_registry::ScriptedRegistry;
use crate::support::sidecar::{Sidecar, generous_time_budget};
use crate::support::store::Store;
use crate::support::wait_until;
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use uuid::Uuid;

const CLIENTS: usize = 4;
const BLOBS: usize = 6;
/// More mounts than any round lives to see, for each client.
const MOST: usize = 2000;

/// Where a link was wanted, and of what.
pub type Pair = (String, String);

/// Numbers that are the same for the same seed, which is printed and can be given again.
pub struct Random(u64);

impl Random {
    pub fn from_seed() -> Self {
        let seed = match std::env::var("CROSSMOUNT_SEED") {
            Ok(given) => given.parse().expect("a number as CROSSMOUNT_SEED"),
            Err(_) => Uuid::new_v4().as_u64_pair().1,
        };
        println!("CROSSMOUNT_SEED={seed}");
        Self(seed)
    }

    /// From 0 to just below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// What the rounds so far came to.
#[derive(Default)]
pub struct Tally {
    /// Answers of 201 that a client received whole.
    pub received: u64,
    /// Mounts whose answer never came.
    pub unanswered: u64,
    /// Links that nobody was told of.
    pub untold: u64,
    /// Temporary files that were left.
    pub left: u64,
}

/// How far a sidecar has come.
#[derive(Default)]
struct Life {
    has_mounted: AtomicBool,
    is_over: AtomicBool,
}

pub struct CrashHarness {
    pub random: Random,
    pub tally: Tally,
    pub registry: Registry,
    _seen: Option<FuseFilesystem>,
    pub scripted: ScriptedRegistry,
    digests: Vec<String>,
    /// What the last round's clients do not know about.
    pub unanswered: BTreeSet<Pair>,
    pub rounds: usize,
}

impl CrashHarness {
    pub fn start() -> Self {
        Self::over(ScriptedRegistry::start(|_| None), None)
    }

    /// Where every file has a name, so that a kill can leave temporary files.
    pub fn of_names_only() -> Self {
        let (seen, store, home) = FuseFilesystem::of_names_only();
        Self::over(ScriptedRegistry::over(store, home, |_| None), Some(seen))
    }

    fn over(scripted: ScriptedRegistry, seen: Option<FuseFilesystem>) -> Self {
        let root = scripted.store.root.clone();
        let registry =
            Registry::with(|config| config["storage"]["filesystem"]["rootdirectory"] = json!(root));
        let digests =
            (0..BLOBS).map(|at| scripted.plant("source", format!("blob {at}").as_bytes()));
        Self {
            random: Random::from_seed(),
            tally: Tally::default(),
            digests: digests.collect(),
            registry,
            _seen: seen,
            scripted,
            unanswered: BTreeSet::new(),
            rounds: 0,
        }
    }

    pub fn store(&self) -> &Store {
        &self.scripted.store
    }

    /// Starts the sidecar by `command`, kills it in the midst of mounts, and looks at what is left.
    pub fn round(&mut self, command: Command, before_the_kill: Duration) {
        let mut sidecar = self.scripted.sidecar_by(command, generous_time_budget);
        self.push_again(&sidecar);
        let elsewhere = self.elsewhere();
        let (mut received, mut unanswered) = (BTreeSet::new(), BTreeSet::new());
        let life = Life::default();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (this, port, life) = (&*self, sidecar.port, &life);
                    scope.spawn(move || this.mount_until_the_end(client, port, life))
                })
                .collect();
            // Every other one dies among its first mounts, however slow the machine is.
            if self.rounds % 2 == 1 {
                wait_until("a mount is made", || {
                    life.has_mounted.load(Ordering::Relaxed)
                });
            }
            std::thread::sleep(before_the_kill);
            life.is_over.store(true, Ordering::Relaxed);
            sidecar.signal(Signal::KILL);
            for client in clients {
                let (told, last) = client.join().unwrap();
                received.extend(told);
                unanswered.extend(last);
            }
        });
        assert!(!sidecar.wait_for_exit().success());
        self.unanswered = unanswered;
        self.look_at(&received);
        assert_eq!(self.elsewhere(), elsewhere);
        self.rounds += 1;
    }

    /// What a killed process left in the midst does not stand in the way of the same push.
    fn push_again(&mut self, sidecar: &Sidecar) {
        for (target, digest) in std::mem::take(&mut self.unanswered) {
            let client = sidecar.client();
            wait_until("the push is made again", || {
                client.mount(&target, &digest, "source").status == 201
            });
            assert_eq!(self.link(&target, &digest).as_deref(), Some(&*digest));
            self.registry.client().pull(&target, &digest);
        }
    }

    /// Mounts one pair after the other, half of them the same as all other clients, and gives
    /// those that were answered by 201, and the one that was not answered.
    fn mount_until_the_end(
        &self,
        client: usize,
        port: u16,
        life: &Life,
    ) -> (Vec<Pair>, Option<Pair>) {
        let mut told = Vec::new();
        for at in 0..MOST {
            let whose = if at % 2 == 0 { CLIENTS } else { client };
            let target = format!("round{}/of{whose}/target{}", self.rounds, at / 4);
            let digest = self.digests[at % BLOBS].clone();
            let request = Request::new("POST", &mount_target(&target, &digest, "source"));
            match request.try_send(port) {
                Ok(answer) if answer.status == 201 => {
                    told.push((target, digest));
                    life.has_mounted.store(true, Ordering::Relaxed);
                }
                // Left to the registry, as where the machine stood still for seconds.
                Ok(answer) => assert_eq!(answer.status, 202, "{answer:?}"),
                Err(error) => {
                    assert!(life.is_over.load(Ordering::Relaxed), "{target}: {error}");
                    return (told, Some((target, digest)));
                }
            }
        }
        (told, None)
    }

    fn link(&self, target: &str, digest: &str) -> Option<String> {
        fs::read_to_string(self.scripted.store.link(target, digest)).ok()
    }
}
