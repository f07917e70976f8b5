//! A registry that ends and comes back under load.

use super::torn_manifests::is_torn_by_a_kill;
use super::upstream_load::{Absence, Failure, Load};
use crate::{needs, support};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use support::figures::{amount, note};
use support::image::{Blob, Image};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::stop_guard::StopGuard;
use support::{raw_http, wait_until};

const CLIENTS: usize = 4;
/// What begins so soon after the registry is seen to be back may still fail.
const AROUND: Duration = Duration::from_secs(1);
/// How long the registry stays each time, at least: most of it is watched, and nothing excused.
const STAY: Duration = Duration::from_millis(2500);

fn is_explained(failure: &Failure, absences: &[Absence]) -> bool {
    !failure.what.starts_with("strange")
        && absences
            .iter()
            .any(|it| failure.ended >= it.from && failure.began <= it.to + AROUND)
}

/// Ends the registry in one of three ways, and lets it come back.
fn interrupt(registry: &mut Registry, round: usize) -> Absence {
    let from = Instant::now();
    if round % 3 == 1 {
        registry.end();
        sleep(Duration::from_millis(100));
    }
    let kill = Instant::now();
    registry.kill();
    let killed = Instant::now();
    if round % 3 == 2 {
        // Long enough for everybody to notice.
        sleep(Duration::from_millis(700));
    }
    registry.resume();
    Absence {
        from,
        kill: (kill, killed),
        to: Instant::now(),
    }
}

#[test]
fn a_registry_that_restarts_under_load_costs_no_more_than_its_absence() {
    needs!("docker-registry");
    let mut registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let common = Image::of(&["a common layer"], 30_000).layers.remove(0);
    client.upload("common", &common.bytes);
    let load = Load {
        store: registry.store.clone(),
        client,
        common,
        failures: Mutex::default(),
        requests: AtomicUsize::new(0),
        mounts: AtomicUsize::new(0),
        images: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    };
    let restarts = amount(6, 60);
    let mut absences = Vec::new();
    let pushed: Vec<(String, Image)> = scope(|scope| {
        let workers: Vec<_> = (0..CLIENTS)
            .map(|worker| {
                let load = &load;
                scope.spawn(move || load.work(worker))
            })
            .collect();
        let over = StopGuard(&load.is_over);
        for round in 0..restarts {
            load.wait_for_images(3);
            absences.push(interrupt(&mut registry, round));
            sleep(STAY);
        }
        load.wait_for_images(2 * CLIENTS);
        drop(over);
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    for pair in absences.windows(2) {
        let stay = pair[1].from - pair[0].to;
        assert!(stay > 2 * AROUND, "all of it is excused");
    }
    let failures = load.failures.into_inner().unwrap();
    let strange: Vec<_> = failures
        .iter()
        .filter(|failure| !is_explained(failure, &absences))
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
    assert!(!failures.is_empty(), "nobody noticed");
    let mut torn = 0;
    for (repository, image) in &pushed {
        if is_torn_by_a_kill(&load.store, (repository, image), &failures, &absences) {
            torn += 1;
            image.pull_blobs(&registry.client(), repository);
        } else {
            image.pull(&registry.client(), repository, "v1");
        }
        let common = registry.client().pull(repository, &load.common.digest);
        assert_eq!(common, load.common.bytes);
    }
    is_well(&sidecar, "common", &load.common);
    note(
        "Upstream",
        &format!(
            "the registry is killed or ended and comes back {restarts} times while {CLIENTS} clients push, mount and pull"
        ),
        load.requests.into_inner() as u64,
        &format!(
            "{} requests failed, all while it was away; {} mounts answered 201, each with link and \
             layer; {} images whole; afterwards all is well by itself",
            failures.len(),
            load.mounts.into_inner(),
            pushed.len() - torn
        ),
    );
}

/// Without anybody's help. A question that the registry did not answer is not asked again for a
/// second; until then mounts are the registry's.
fn is_well(sidecar: &Sidecar, source: &str, layer: &Blob) {
    raw_http::get(sidecar.admin, "/readyz").expect(200);
    sidecar.verify_store();
    let (client, before) = (sidecar.client(), sidecar.mounted());
    let mut turn = 0;
    wait_until("mounts are the sidecar's own again", || {
        turn += 1;
        let target = format!("well/again{turn}");
        client.mount(&target, &layer.digest, source).expect(201);
        assert_eq!(client.pull(&target, &layer.digest), layer.bytes);
        sidecar.mounted() > before
    });
    assert!(sidecar.metric("crossmount_requests_in_flight", &[]) < 1.0);
}

/// A registry that stands still is slow, and not absent.
#[test]
fn a_registry_that_pauses_loses_no_request() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, |config| {
        config["mount"] = serde_json::json!({"time_budget": "300ms"});
    });
    sidecar.verify_store();
    let client = sidecar.client();
    let image = Image::of(&["one", "two"], 200_000);
    image.push(&client, "source", "v1");
    let rounds = amount(2, 20);
    for round in 0..rounds {
        let is_over = AtomicBool::new(false);
        scope(|scope| {
            for worker in 0..CLIENTS {
                let (client, image, is_over) = (&client, &image, &is_over);
                scope.spawn(move || {
                    for number in 0.. {
                        let target = format!("to{round}/by{worker}/{number}");
                        for blob in image.blobs() {
                            let answer = client.mount(&target, &blob.digest, "source");
                            if answer.status == 202 {
                                client.finish(&answer, &blob.bytes).expect(201);
                            } else {
                                answer.expect(201);
                            }
                        }
                        client
                            .put_manifest(&target, "v1", &image.manifest.bytes)
                            .expect(201);
                        image.pull(client, &target, "v1");
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                });
            }
            let _over = StopGuard(&is_over);
            for _ in 0..2 {
                sleep(Duration::from_millis(200));
                registry.freeze();
                sleep(Duration::from_millis(1200));
                registry.thaw();
            }
        });
    }
    is_well(&sidecar, "source", &image.layers[0]);
    note(
        "Upstream",
        "the registry stands still for a second while clients push, mount and pull",
        2 * rounds,
        "every request was answered as always, a second late",
    );
}
