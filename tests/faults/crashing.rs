//! A sidecar that is killed again and again while many mounts are on their way.
//!
//! Its registry mounts nothing itself, so that every 201 is the sidecar's own word; a real
//! registry reads the same store. A kill takes the process and not the kernel: what a power cut
//! takes cannot be shown so, and is for the tests of what is synced before an answer.

use crate::support::played::Played;
use crate::support::push::mount_target;
use crate::support::registry::Registry;
use crate::support::sidecar::{self, Sidecar};
use crate::support::store::Store;
use crate::support::wait_until;
use crate::support::wire::Request;
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
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

pub struct Crashing {
    pub random: Random,
    pub tally: Tally,
    played: Played,
    registry: Registry,
    digests: Vec<String>,
    /// What the last round's clients do not know about.
    unanswered: BTreeSet<Pair>,
    rounds: usize,
}

impl Crashing {
    pub fn start() -> Self {
        let played = Played::start(|_| None);
        let root = played.store.root.clone();
        let registry =
            Registry::with(|config| config["storage"]["filesystem"]["rootdirectory"] = json!(root));
        let digests = (0..BLOBS).map(|at| played.plant("source", format!("blob {at}").as_bytes()));
        Self {
            random: Random::from_seed(),
            tally: Tally::default(),
            digests: digests.collect(),
            played,
            registry,
            unanswered: BTreeSet::new(),
            rounds: 0,
        }
    }

    pub fn store(&self) -> &Store {
        &self.played.store
    }

    /// Starts the sidecar by `command`, kills it in the midst of mounts, and looks at what is left.
    pub fn round(&mut self, command: Command, before_the_kill: Duration) {
        let mut sidecar = self.played.sidecar_by(command, |config| {
            config["mount"] = json!({"time_budget": "30s"});
        });
        self.push_again(&sidecar);
        let (mut received, mut unanswered) = (BTreeSet::new(), BTreeSet::new());
        let is_dead = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (this, port, is_dead) = (&*self, sidecar.port, &is_dead);
                    scope.spawn(move || this.mount_until_the_end(client, port, is_dead))
                })
                .collect();
            std::thread::sleep(before_the_kill);
            is_dead.store(true, Ordering::Relaxed);
            sidecar.signal(Signal::KILL);
            for client in clients {
                let (told, last) = client.join().unwrap();
                received.extend(told);
                unanswered.extend(last);
            }
        });
        assert!(!sidecar.ended().success());
        self.unanswered = unanswered;
        self.look_at(&received);
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
        is_dead: &AtomicBool,
    ) -> (Vec<Pair>, Option<Pair>) {
        let mut told = Vec::new();
        for at in 0..MOST {
            let whose = if at % 2 == 0 { CLIENTS } else { client };
            let target = format!("round{}/of{whose}/target{}", self.rounds, at / 4);
            let digest = self.digests[at % BLOBS].clone();
            let request = Request::new("POST", &mount_target(&target, &digest, "source"));
            match request.try_send(port) {
                Ok(answer) if answer.status == 201 => told.push((target, digest)),
                // Left to the registry, as where the machine stood still for seconds.
                Ok(answer) => assert_eq!(answer.status, 202, "{answer:?}"),
                Err(error) => {
                    assert!(is_dead.load(Ordering::Relaxed), "{target}: {error}");
                    return (told, Some((target, digest)));
                }
            }
        }
        (told, None)
    }

    fn look_at(&mut self, received: &BTreeSet<Pair>) {
        let store = &self.played.store;
        let round = format!("round{}", self.rounds);
        let (mut links, mut left) = (BTreeSet::new(), 0);
        let place = store.repository(&round);
        for file in Store::new(&place).files() {
            let Some((target, digest, name)) = parts(&file) else {
                panic!("{file} is neither a link nor beside one");
            };
            match name {
                "link" => {
                    let content = fs::read_to_string(place.join(&file)).unwrap();
                    assert_eq!(content, digest, "{file}");
                    links.insert((format!("{round}/{target}"), digest));
                }
                name => {
                    assert!(is_ours(name), "{file}");
                    left += 1;
                }
            }
        }
        for (target, digest) in received {
            let pair = (target.clone(), digest.clone());
            assert!(links.contains(&pair), "{target} was told of {digest}");
            self.registry.client().pull(target, digest);
        }
        self.tally.received += received.len() as u64;
        self.tally.unanswered += self.unanswered.len() as u64;
        self.tally.untold += links.difference(received).count() as u64;
        self.tally.left += left;
    }

    fn link(&self, target: &str, digest: &str) -> Option<String> {
        fs::read_to_string(self.played.store.link(target, digest)).ok()
    }

    /// The walk takes those leftovers that are old, and touches nothing else.
    pub fn walk_takes_what_is_old(&self) {
        let left = self.played.store.stray_files();
        let (old, young): (Vec<_>, Vec<_>) =
            left.iter().enumerate().partition(|(at, _)| at % 2 == 0);
        for half in [old, young] {
            let half: Vec<_> = half.into_iter().map(|(_, file)| file).collect();
            for file in &half {
                make_old(&self.played.store.root.join(file));
            }
            let mut wanted = self.played.store.files();
            wanted.retain(|file| !half.contains(&file));
            self.walk();
            assert_eq!(self.played.store.files(), wanted);
        }
        assert_eq!(self.played.store.stray_files(), [""; 0]);
    }

    fn walk(&self) {
        let mut config = sidecar::config(&self.played.upstream.url(), &self.played.store.root);
        config["discovery"] = json!({"enabled": true, "on_head": true, "sources": "any"});
        let sidecar = Sidecar::from(&config);
        wait_until("the walk is done", || {
            let ended = "crossmount_walk_last_completed_timestamp_seconds";
            sidecar.metric(ended, &[]) > 0.0
        });
    }
}

fn make_old(file: &std::path::Path) {
    let hours = Duration::from_secs(2 * 60 * 60);
    let file = File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - hours).unwrap();
}

/// `<target>/_layers/sha256/<hex>/<name>` as target, digest and name.
fn parts(file: &str) -> Option<(&str, String, &str)> {
    let (target, rest) = file.split_once("/_layers/")?;
    let (folder, name) = rest.rsplit_once('/')?;
    Some((target, folder.replace('/', ":"), name))
}

/// Whether a file has the name of our temporary files.
fn is_ours(name: &str) -> bool {
    let id = name.strip_prefix("link.crossmount.");
    let id = id.and_then(|rest| rest.strip_suffix(".tmp"));
    id.is_some_and(|id| Uuid::try_parse(id).is_ok())
}
