//! Everything at once, for long: nothing grows, nothing fails that the registry alone would serve,
//! and nothing becomes slower than the registry becomes.

use crate::{needs, support};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::figures::{amount, note};
use support::load::{Mixed, PASSWORD, Step, Timed, USER, layers};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::{End, wait_until};

const CLIENTS: u64 = 4;

/// What the process holds at a moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    memory: u64,
    descriptors: u64,
    threads: u64,
}

/// The times in which what happens is compared: after the process has warmed up, and at the end.
struct Windows {
    warm: Instant,
    early: Instant,
    late: Instant,
}

impl Windows {
    fn of(start: Instant, long: Duration) -> Self {
        let warm = amount(long / 6, Duration::from_secs(300));
        let rest = long.saturating_sub(warm) / 3;
        Self {
            warm: start + warm,
            early: start + warm + rest,
            late: start + long.saturating_sub(rest),
        }
    }

    fn is_early(&self, at: Instant) -> bool {
        (self.warm..self.early).contains(&at)
    }

    fn is_late(&self, at: Instant) -> bool {
        at >= self.late
    }
}

#[test]
fn under_mixed_load_nothing_grows_fails_or_slows_down() {
    needs!("docker-registry", "htpasswd");
    let users = [(USER, PASSWORD)];
    let (alone, behind) = (
        Registry::with_htpasswd(&users),
        Registry::with_htpasswd(&users),
    );
    let sidecar = Sidecar::with(&behind, support::secured::upstream_mode);
    let owner = sidecar.client().basic(USER, PASSWORD);
    for port in [alone.port, behind.port] {
        for layer in layers() {
            owner.at(port).upload(&layer.repository, &layer.bytes);
        }
    }
    sidecar.prove_as(&owner);

    let long = Duration::from_secs(amount(45, 1800));
    let (start, ended) = (Instant::now(), AtomicBool::new(false));
    let windows = Windows::of(start, long);
    let (clients, samples) = std::thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|number| {
                let mut client = Mixed::new(number, alone.port, sidecar.port);
                scope.spawn(move || {
                    while start.elapsed() < long {
                        client.step();
                    }
                    client
                })
            })
            .collect();
        let samples = scope.spawn(|| sample(&sidecar, &ended));
        let end = End(&ended);
        let clients: Vec<_> = clients.into_iter().map(|it| it.join().unwrap()).collect();
        drop(end);
        (clients, samples.join().unwrap())
    });

    let wrong: Vec<_> = clients
        .iter()
        .flat_map(|client| client.wrong.clone())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let timed: Vec<_> = clients
        .iter()
        .flat_map(|client| client.timed.clone())
        .collect();
    let mounted = sidecar.mounted();
    assert!(mounted > 100, "{mounted} mounts");
    drop(clients);
    let memory = nothing_grows(&windows, &samples);
    let latency = nothing_slows_down(&windows, &timed);
    wait_until("all connections are given back", || {
        sidecar.descriptors() < 100
    });
    assert_eq!(behind.store.stray_files(), Vec::<String>::new());
    note(
        "Load",
        &format!(
            "steps of {CLIENTS} clients in {} s, as alone",
            long.as_secs()
        ),
        timed.len() as u64,
        &format!("all as by the registry alone, {mounted} mounts here; {memory}; {latency}"),
    );
    note("Load", "of these", timed.len() as u64, &steps(&timed));
}

fn steps(timed: &[Timed]) -> String {
    let mut all = BTreeMap::<_, usize>::new();
    for one in timed {
        *all.entry(one.step).or_default() += 1;
    }
    let words: Vec<_> = all
        .iter()
        .map(|(step, count)| format!("{step:?} {count}"))
        .collect();
    words.join(", ")
}

fn sample(sidecar: &Sidecar, ended: &AtomicBool) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        samples.push(Sample {
            at: Instant::now(),
            memory: sidecar.memory("VmRSS"),
            descriptors: sidecar.descriptors() as u64,
            threads: sidecar.threads(),
        });
        std::thread::sleep(Duration::from_millis(250));
    }
    samples
}

/// What the process holds at most, early and late.
fn nothing_grows(windows: &Windows, samples: &[Sample]) -> String {
    let most = |of: fn(&Sample) -> u64, is_in: &dyn Fn(Instant) -> bool| {
        let all = samples.iter().filter(|sample| is_in(sample.at)).map(of);
        all.max().expect("a sample")
    };
    let both = |of| {
        let early = most(of, &|at| windows.is_early(at));
        (early, most(of, &|at| windows.is_late(at)))
    };
    let memory = both(|sample| sample.memory);
    let descriptors = both(|sample| sample.descriptors);
    let threads = both(|sample| sample.threads);
    // An allocator keeps a little of each thread's worst moment.
    assert!(memory.1 < memory.0 + memory.0 / 4 + 4096, "{memory:?} kB");
    assert!(descriptors.1 <= descriptors.0 + 20, "{descriptors:?}");
    assert!(threads.1 <= threads.0 + 8, "{threads:?}");
    format!(
        "memory {:.1} MiB, then {:.1}; descriptors {}, then {}; threads {}, then {}",
        mib(memory.0),
        mib(memory.1),
        descriptors.0,
        descriptors.1,
        threads.0,
        threads.1
    )
}

#[allow(clippy::cast_precision_loss, reason = "a figure to read")]
fn mib(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

/// Medians early and late, each beside that of the registry alone in the same time.
fn nothing_slows_down(windows: &Windows, timed: &[Timed]) -> String {
    let mut words = Vec::new();
    for step in [Step::Pull, Step::Mount, Step::Push] {
        let of = |is_in: &dyn Fn(Instant) -> bool| {
            let all: Vec<_> = timed
                .iter()
                .filter(|one| one.step == step && is_in(one.at))
                .collect();
            let alone = median(all.iter().map(|one| one.alone));
            let behind = median(all.iter().map(|one| one.behind));
            (behind, behind.as_secs_f64() / alone.as_secs_f64())
        };
        let (early, late) = (
            of(&|at| windows.is_early(at)),
            of(&|at| windows.is_late(at)),
        );
        // The machine's own noise comes to both of them.
        assert!(
            late.1 < early.1 * 3.0 + 0.5,
            "{step:?}: {early:?}, then {late:?}"
        );
        words.push(format!(
            "{step:?} {:.1?}, then {:.1?} ({:.2}, then {:.2} of alone)",
            early.0, late.0, early.1, late.1
        ));
    }
    words.join(", ")
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2]
}
