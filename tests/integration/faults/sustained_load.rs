//! Everything at once, for long: nothing grows, nothing fails that the registry alone would serve,
//! and nothing becomes slower than the registry becomes.

use super::steady_state::{Sample, Windows, no_step_costs_more, nothing_grows, nothing_slows_down};
use crate::{needs, support};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::figures::{amount, note};
use support::mixed_load::{Mixed, PASSWORD, Timed, USER, layers};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::stop_guard::StopGuard;
use support::wait_until;

const CLIENTS: u64 = 4;
/// How old a session is that nobody comes back to: longer than any step takes.
const ABANDONED: Duration = Duration::from_secs(90);

#[test]
fn under_mixed_load_nothing_grows_fails_or_slows_down() {
    needs!("docker-registry", "htpasswd");
    let users = [(USER, PASSWORD)];
    let (alone, behind) = (
        Registry::with_htpasswd(&users),
        Registry::with_htpasswd(&users),
    );
    let sidecar = Sidecar::with(&behind, support::access_control::upstream_mode);
    let owner = sidecar.client().basic(USER, PASSWORD);
    for port in [alone.port, behind.port] {
        for layer in layers() {
            owner.at(port).upload(&layer.repository, &layer.bytes);
        }
    }
    sidecar.verify_store_as(&owner);

    let long = Duration::from_secs(amount(60, 1800));
    let (start, ended) = (Instant::now(), AtomicBool::new(false));
    let windows = Windows::of(start, long);
    let (clients, samples) = std::thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|number| {
                let mut client = Mixed::new(number, alone.port, sidecar.port);
                let ended = &ended;
                scope.spawn(move || {
                    let _over = StopGuard(ended);
                    while start.elapsed() < long && !ended.load(Ordering::Relaxed) {
                        client.step();
                    }
                    client
                })
            })
            .collect();
        let samples = scope.spawn(|| {
            let _over = StopGuard(&ended);
            sample(&sidecar, &ended, [&alone, &behind])
        });
        let clients: Vec<_> = clients.into_iter().map(|it| it.join().unwrap()).collect();
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
    let cost = no_step_costs_more(&windows, &samples, &timed);
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
        &format!(
            "all as by the registry alone, {mounted} mounts here; {memory}; {cost}; {latency}"
        ),
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

fn sample(sidecar: &Sidecar, ended: &AtomicBool, registries: [&Registry; 2]) -> Vec<Sample> {
    let [alone, _] = registries;
    let (mut samples, mut swept) = (Vec::new(), Instant::now());
    while !ended.load(Ordering::Relaxed) {
        samples.push(Sample {
            at: Instant::now(),
            memory: sidecar.memory("VmRSS"),
            descriptors: sidecar.descriptors() as u64,
            threads: sidecar.threads(),
            computed: sidecar.computed(),
            computed_alone: alone.computed(),
        });
        if swept.elapsed() > ABANDONED {
            for registry in registries {
                registry.store.sweep_sessions(ABANDONED);
            }
            swept = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    samples
}
