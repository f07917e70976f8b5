//! A sidecar over a store that can be made to hang, and a stream of requests meanwhile.

use crate::support::figures::amount;
use crate::support::filesystems::FuseFilesystem;
use crate::support::registry::Registry;
use crate::support::registry_client::Client;
use crate::support::sidecar::{self, Sidecar};
use crate::support::stop_guard::StopGuard;
use crate::support::{raw_http, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const BLOB: &[u8] = b"a blob in a store that hangs";
/// A quarter of what it is by default.
pub const BUDGET: Duration = Duration::from_millis(500);
/// What may be waited for the sidecar, on a machine that is busy with other tests: shorter than
/// the store ever hangs.
const LIMIT: Duration = Duration::from_secs(8);

/// How long the store hangs.
pub fn time() -> Duration {
    Duration::from_secs(amount(12, 30))
}

/// For an upload, a pull and a HEAD, which the registry answers at last: all of them share the
/// machine with many that mount.
pub fn passing() -> Duration {
    time() / 2
}

/// What hangs goes first, so that nobody waits for it.
pub struct HungStore {
    pub seen: FuseFilesystem,
    pub sidecar: Sidecar,
    pub registry: Registry,
    /// A blob in `source`.
    pub digest: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Sidecars,
    Both,
}

impl HungStore {
    pub fn start(whose: Whose) -> Self {
        Self::with(whose, |_| ())
    }

    /// `change` edits the sidecar's configuration.
    pub fn with(whose: Whose, change: fn(&mut Value)) -> Self {
        let mut registry = Registry::prepared(|_| ());
        fs::create_dir(&registry.store.root).unwrap();
        let place = registry.home().join("seen");
        let seen = FuseFilesystem::mirror(&registry.store.root, &place);
        if whose == Whose::Both {
            registry.config["storage"]["filesystem"]["rootdirectory"] = json!(place);
        }
        registry.resume();
        let sidecar = sidecar_of(&registry, &seen, change);
        sidecar.verify_store();
        Self {
            digest: sidecar.client().upload("source", BLOB),
            seen,
            sidecar,
            registry,
        }
    }

    pub fn client(&self) -> Client {
        self.sidecar.client()
    }

    #[track_caller]
    pub fn mounts_itself(&self, target: &str) {
        let before = self.sidecar.mounted();
        self.client()
            .mount(target, &self.digest, "source")
            .expect(201);
        assert_eq!(self.sidecar.mounted(), before + 1, "{target}");
        let link = fs::read_to_string(self.registry.store.link(target, &self.digest));
        assert_eq!(link.unwrap(), self.digest, "{target}");
        assert_eq!(self.client().pull(target, &self.digest), BLOB);
    }

    /// After the store has come back: mounts are our own, and no thread is held any more.
    #[track_caller]
    pub fn is_well_again(&self) {
        let before = self.sidecar.mounted();
        let mut turn = 0;
        wait_until("mounts are the sidecar's own again", || {
            turn += 1;
            let target = format!("well/again{turn}");
            let answer = self.client().mount(&target, &self.digest, "source");
            answer.expect(201);
            self.sidecar.mounted() > before
        });
        wait_until("no thread is held any more", || self.held() == 0);
        wait_until("it is ready", || {
            raw_http::get(self.sidecar.admin, "/readyz").status == 200
        });
        wait_until("late jobs have cleaned up", || {
            self.registry.store.stray_files().is_empty()
        });
    }

    /// Threads that wait for the process which serves the store.
    fn held(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.sidecar.id())).unwrap();
        tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("wchan")).ok())
            .filter(|call| call == "request_wait_answer")
            .count()
    }
}

pub fn sidecar_of(registry: &Registry, seen: &FuseFilesystem, change: fn(&mut Value)) -> Sidecar {
    let mut config = sidecar::config(&registry.url(), &seen.place);
    config["mount"] = json!({"time_budget": format!("{}ms", BUDGET.as_millis())});
    config["shutdown"] = json!({"drain_delay": "0s", "timeout": "3s"});
    change(&mut config);
    Sidecar::from(&config)
}

/// What was seen while the store hung.
#[derive(Default)]
pub struct Seen {
    pub mounts: Times,
    pub passed: Times,
    pub threads: u64,
    /// Threads that waited for the store.
    pub held: usize,
    /// In kB.
    pub memory: u64,
}

/// How long each of many took.
#[derive(Default)]
pub struct Times(Mutex<Vec<Duration>>);

impl Times {
    fn add(&self, took: Duration) {
        self.0.lock().unwrap().push(took);
    }

    fn sorted(&self) -> Vec<Duration> {
        let mut all = self.0.lock().unwrap().clone();
        all.sort();
        all
    }

    pub fn count(&self) -> u64 {
        self.sorted().len() as u64
    }

    pub fn slowest(&self) -> Duration {
        self.sorted().pop().expect("one at least")
    }

    /// Most of them do not feel what else the machine does.
    pub fn median(&self) -> Duration {
        let all = self.sorted();
        all[all.len() / 2]
    }
}

impl HungStore {
    /// Mounts and passes by while `time` goes by; all of it must end though the store hangs.
    pub fn stream(&self, time: Duration, mounters: usize) -> Seen {
        let (over, start) = (AtomicBool::new(false), Instant::now());
        let mut seen = Seen::default();
        let (mut threads, mut memory, mut held) = (0, 0, 0);
        std::thread::scope(|scope| {
            for mounter in 0..mounters {
                let (this, over, seen) = (self, &over, &seen);
                scope.spawn(move || {
                    for turn in 0.. {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        this.mount_in_time(&format!("of{mounter}/at{turn}"), seen);
                    }
                });
            }
            for puller in 0..4 {
                let (this, over, seen) = (self, &over, &seen);
                scope.spawn(move || {
                    for turn in 0.. {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        let took = this.pass(&format!("pull{puller} {turn}"));
                        seen.passed.add(took);
                    }
                });
            }
            let _over = StopGuard(&over);
            while start.elapsed() < time {
                threads = self.sidecar.threads().max(threads);
                memory = self.sidecar.memory("VmRSS").max(memory);
                held = self.held().max(held);
                let ready = raw_http::get(self.sidecar.admin, "/readyz");
                assert!([200, 503].contains(&ready.status), "{}", ready.text());
                raw_http::get(self.sidecar.admin, "/healthz").expect(200);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        (seen.threads, seen.memory, seen.held) = (threads, memory, held);
        seen
    }

    /// The registry, which sees the store directly, mounts in the sidecar's place.
    fn mount_in_time(&self, target: &str, seen: &Seen) {
        let start = Instant::now();
        let answer = self.client().mount(target, &self.digest, "source");
        let took = start.elapsed();
        answer.expect(201);
        assert!(took < LIMIT, "{target} took {took:?}");
        seen.mounts.add(took);
    }

    /// An upload, its pull, and a HEAD that would come true if the store answered; how long they
    /// took.
    #[track_caller]
    pub fn pass(&self, blob: &str) -> Duration {
        let start = Instant::now();
        let digest = self.client().upload("passing", blob.as_bytes());
        assert_eq!(self.client().pull("passing", &digest), blob.as_bytes());
        self.client().head_blob("nowhere", &self.digest).expect(404);
        let took = start.elapsed();
        assert!(took < passing(), "{blob} took {took:?}");
        took
    }
}
