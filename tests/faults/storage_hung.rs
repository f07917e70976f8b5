//! A store that gives no answer for a while, as a network's does: FUSE, its process stopped.

use crate::support::mounted::Served;
use crate::support::pieces::MOST_MEMORY;
use crate::support::push::Client;
use crate::support::registry::Registry;
use crate::support::sidecar::{self, Sidecar};
use crate::support::{digest_of, figures, wait_until, wire};
use crate::{needs, needs_mounts};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BLOB: &[u8] = b"a blob in a store that hangs";
const BUDGET: Duration = Duration::from_secs(1);
/// A machine that is busy with other tests.
const SLACK: Duration = Duration::from_secs(8);
/// The threads that may be held by the store, and one more for readiness; the rest is room.
const MOST_HELD: u64 = 16 + 1 + 4;

/// What hangs goes first, so that nobody waits for it.
struct Hanging {
    seen: Served,
    sidecar: Sidecar,
    registry: Registry,
    digest: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Sidecars,
    Both,
}

impl Hanging {
    fn start(whose: Whose) -> Self {
        let mut registry = Registry::prepared(|_| ());
        fs::create_dir(&registry.store.root).unwrap();
        let place = registry.home().join("seen");
        let seen = Served::mirror(&registry.store.root, &place);
        if whose == Whose::Both {
            registry.config["storage"]["filesystem"]["rootdirectory"] = json!(place);
        }
        registry.resume();
        let sidecar = sidecar_of(&registry, &seen);
        sidecar.prove();
        Self {
            digest: sidecar.client().upload("source", BLOB),
            seen,
            sidecar,
            registry,
        }
    }

    fn client(&self) -> Client {
        self.sidecar.client()
    }

    #[track_caller]
    fn mounts_itself(&self, target: &str) {
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
    fn is_well_again(&self) {
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
            wire::get(self.sidecar.admin, "/readyz").status == 200
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

    fn threads(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.sidecar.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Threads:"));
        line.unwrap().trim().parse().unwrap()
    }
}

fn sidecar_of(registry: &Registry, seen: &Served) -> Sidecar {
    let mut config = sidecar::config(&registry.url(), &seen.place);
    config["mount"] = json!({"time_budget": format!("{}ms", BUDGET.as_millis())});
    config["shutdown"] = json!({"drain_delay": "0s", "timeout": "3s"});
    Sidecar::from(&config)
}

/// How long the store hangs.
fn time() -> Duration {
    Duration::from_secs(figures::amount(6, 30))
}

/// What was seen while the store hung.
#[derive(Default)]
struct Seen {
    mounts: AtomicU64,
    slowest: AtomicU64,
    passed: AtomicU64,
    threads: u64,
    memory: u64,
}

impl Hanging {
    /// Mounts and passes by while `time` goes by; all of it must end though the store hangs.
    fn stream(&self, time: Duration, mounters: usize) -> Seen {
        let (over, start) = (AtomicBool::new(false), Instant::now());
        let mut seen = Seen::default();
        let (mut threads, mut memory) = (0, 0);
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
            for puller in 0..2 {
                let (this, over, seen) = (self, &over, &seen);
                scope.spawn(move || {
                    for turn in 0.. {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        this.pass(&format!("pull{puller} {turn}"));
                        seen.passed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            while start.elapsed() < time {
                threads = self.threads().max(threads);
                memory = self.sidecar.memory("VmRSS").max(memory);
                let ready = wire::get(self.sidecar.admin, "/readyz");
                assert!([200, 503].contains(&ready.status), "{}", ready.text());
                wire::get(self.sidecar.admin, "/healthz").expect(200);
                std::thread::sleep(Duration::from_millis(50));
            }
            over.store(true, Ordering::Relaxed);
        });
        (seen.threads, seen.memory) = (threads, memory);
        seen
    }

    /// The registry, which sees the store directly, mounts in the sidecar's place.
    fn mount_in_time(&self, target: &str, seen: &Seen) {
        let start = Instant::now();
        let answer = self.client().mount(target, &self.digest, "source");
        let took = start.elapsed();
        answer.expect(201);
        assert!(took < BUDGET + SLACK, "{target} took {took:?}");
        seen.mounts.fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(took.as_millis()).unwrap();
        seen.slowest.fetch_max(took, Ordering::Relaxed);
    }

    /// An upload and a pull.
    fn pass(&self, blob: &str) {
        let digest = self.client().upload("passing", blob.as_bytes());
        assert_eq!(self.client().pull("passing", &digest), blob.as_bytes());
        self.client()
            .head_blob("passing", &digest_of(b"missing"))
            .expect(404);
    }
}

#[test]
fn a_store_that_hangs_leaves_mounts_to_the_registry_and_nothing_else_waits_for_it() {
    needs!("docker-registry", "bindfs");
    needs_mounts!();
    let hanging = Hanging::start(Whose::Sidecars);
    hanging.mounts_itself("before");
    let (threads, own) = (hanging.threads(), hanging.sidecar.mounted());
    hanging.seen.hang();
    let seen = hanging.stream(time(), figures::amount(40, 200));
    let (mounts, passed) = (seen.mounts.into_inner(), seen.passed.into_inner());
    assert_eq!(hanging.sidecar.mounted(), own);
    assert_eq!(hanging.sidecar.because("timeout"), mounts);
    assert!(passed > 20, "only {passed} uploads and pulls");
    assert!(
        seen.threads <= threads + MOST_HELD,
        "{threads}, then {}",
        seen.threads
    );
    assert!(seen.memory < MOST_MEMORY, "{} kB", seen.memory);
    hanging.seen.go_on();
    hanging.is_well_again();
    let tried = format!(
        "store that hangs for {} s, the registry's view of it not",
        time().as_secs()
    );
    let happened = format!(
        "mounts made by the registry in our place, the slowest after {} ms of a budget of {} ms; \
         {passed} uploads with their pulls meanwhile; at most {} threads more, {} MB in all; \
         mounts our own by themselves afterwards",
        seen.slowest.into_inner(),
        BUDGET.as_millis(),
        seen.threads.saturating_sub(threads),
        seen.memory / 1024,
    );
    figures::note("Storage", &tried, mounts, &happened);
}

#[test]
fn where_the_registry_hangs_too_what_needs_no_store_is_answered_and_nothing_is_lost() {
    needs!("docker-registry", "bindfs");
    needs_mounts!();
    let hanging = Hanging::start(Whose::Both);
    hanging.mounts_itself("before");
    let (threads, mounts) = (hanging.threads(), figures::amount(30, 100));
    hanging.seen.hang();
    let (most, start) = (time(), Instant::now());
    let mut answered = 0_u64;
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..mounts)
            .map(|at| {
                let hanging = &hanging;
                scope.spawn(move || {
                    let target = format!("waiting/{at}");
                    let answer = hanging.client().mount(&target, &hanging.digest, "source");
                    answer.expect(201);
                    target
                })
            })
            .collect();
        while start.elapsed() < most {
            hanging.client().get("/v2/").expect(200);
            assert!(hanging.threads() <= threads + MOST_HELD);
            answered += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(hanging.sidecar.memory("VmRSS") < MOST_MEMORY);
        hanging.seen.go_on();
        for mount in waiting {
            let target = mount.join().unwrap();
            assert_eq!(hanging.client().pull(&target, &hanging.digest), BLOB);
        }
    });
    hanging.is_well_again();
    let tried = format!(
        "store that hangs for {} s, for the registry too",
        most.as_secs()
    );
    let happened = format!(
        "{answered} requests that need no store answered meanwhile; each mount made once it was \
         back; mounts our own by themselves afterwards"
    );
    figures::note("Storage", &tried, mounts, &happened);
}

#[test]
fn it_starts_beside_a_store_that_hangs_and_ends_beside_one() {
    needs!("docker-registry", "bindfs");
    needs_mounts!();
    let mut hanging = Hanging::start(Whose::Sidecars);
    hanging.mounts_itself("before");
    hanging.seen.hang();
    std::thread::scope(|scope| {
        for at in 0..24 {
            let hanging = &hanging;
            scope.spawn(move || {
                let target = format!("before-the-end/{at}");
                let answer = hanging.client().mount(&target, &hanging.digest, "source");
                answer.expect(201);
            });
        }
    });
    hanging.sidecar.signal(Signal::TERM);
    let status = hanging.sidecar.ended();
    assert!(status.success(), "{status}");

    hanging.sidecar = sidecar_of(&hanging.registry, &hanging.seen);
    hanging.pass("while it hangs");
    let client = hanging.client();
    client
        .mount("meanwhile", &hanging.digest, "source")
        .expect(201);
    assert_eq!(hanging.sidecar.mounted(), 0);
    let ready = wire::get(hanging.sidecar.admin, "/readyz").expect(503);
    assert!(ready.text().contains("store"), "{}", ready.text());
    hanging.seen.go_on();
    wait_until("it is ready", || {
        wire::get(hanging.sidecar.admin, "/readyz").status == 200
    });
    hanging.sidecar.prove();
    hanging.mounts_itself("afterwards");
    let happened = "ended by SIGTERM with every thread held; started, passed requests on, left \
                    mounts to the registry and was not ready until it was back";
    figures::note(
        "Storage",
        "ended and started while the store hangs",
        1,
        happened,
    );
}
