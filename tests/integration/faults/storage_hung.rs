//! A store that gives no answer for a while, as a network's does: FUSE, its process stopped.

use super::damaged_blobs::{discovering, mount_until};
use super::hung_store::{BLOB, BUDGET, HungStore, Whose, passing, sidecar_of, time};
use crate::support::generated_body::MOST_MEMORY;
use crate::support::{figures, raw_http, wait_until};
use crate::{needs, needs_mounts};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// The threads that may be held by the store, and one more for readiness; the rest is room.
const MOST_HELD: u64 = 64 + 1 + 4;

#[test]
fn a_store_that_hangs_leaves_mounts_to_the_registry_and_nothing_else_waits_for_it() {
    needs!("docker-registry", "bindfs");
    needs_mounts!();
    let hanging = HungStore::start(Whose::Sidecars);
    hangs_and_comes_back(&hanging, "store that hangs", 0);
}

#[test]
fn where_heads_come_true_and_blobs_are_hashed_nothing_waits_for_a_store_that_hangs_either() {
    needs!("docker-registry", "bindfs");
    needs_mounts!();
    let hanging = HungStore::with(Whose::Sidecars, discovering);
    mount_until(&hanging.sidecar, &hanging.digest, "good");
    let tried = "store that hangs, with discovery.on_head and store.verify,";
    hangs_and_comes_back(&hanging, tried, 1);
}

/// `heads` of what passes by ask the store too.
fn hangs_and_comes_back(hanging: &HungStore, tried: &str, heads: u64) {
    hanging.mounts_itself("before");
    let (threads, own) = (hanging.sidecar.threads(), hanging.sidecar.mounted());
    hanging.seen.hang();
    let mounters = figures::amount(40, 200);
    let seen = hanging.stream(time(), mounters);
    let (mounts, passed) = (seen.mounts.count(), seen.passed.count());
    assert_eq!(hanging.sidecar.mounted(), own);
    let timeouts = hanging.sidecar.mounts_with_reason("timeout");
    assert_eq!(timeouts, mounts + heads * passed);
    assert!(seen.held > 0, "no thread waited for the store");
    assert!(passed > 10, "only {passed} uploads and pulls");
    let (mount, pass) = (seen.mounts.median(), seen.passed.median());
    assert!(mount < 4 * BUDGET, "half of the mounts took {mount:?}");
    // These are four requests at least, of which only a HEAD may wait for the budget.
    assert!(pass < 4 * BUDGET, "half of what passed took {pass:?}");
    assert!(
        seen.threads <= threads + MOST_HELD,
        "{threads}, then {}",
        seen.threads
    );
    assert!(seen.memory < MOST_MEMORY, "{} kB", seen.memory);
    hanging.seen.go_on();
    hanging.is_well_again();
    let tried = format!(
        "{tried} for {} s, the registry's view of it not",
        time().as_secs()
    );
    let happened = format!(
        "mounts made by the registry in our place by {} clients at once, half of them within {mount:.1?} \
         of a budget of {BUDGET:?}, all within {:.1?}; {passed} uploads with their pulls meanwhile, half \
         of them within {pass:.1?}, all within {:.1?}; at most {} threads more, {} MB in all; mounts our \
         own by themselves afterwards",
        mounters,
        seen.mounts.slowest(),
        seen.passed.slowest(),
        seen.threads.saturating_sub(threads),
        seen.memory / 1024,
    );
    figures::note("Storage", &tried, mounts, &happened);
}

#[test]
fn where_the_registry_hangs_too_what_needs_no_store_is_answered_and_nothing_is_lost() {
    needs!("docker-registry", "bindfs");
    needs_mounts!();
    let hanging = HungStore::start(Whose::Both);
    hanging.mounts_itself("before");
    let (threads, mounts) = (hanging.sidecar.threads(), figures::amount(30, 100));
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
            let asked = Instant::now();
            hanging.client().get("/v2/").expect(200);
            assert!(asked.elapsed() < passing(), "{:?}", asked.elapsed());
            assert!(hanging.sidecar.threads() <= threads + MOST_HELD);
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
    let mut hanging = HungStore::start(Whose::Sidecars);
    hanging.mounts_itself("before");
    hanging.seen.hang_between_calls();
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
    let status = hanging.sidecar.wait_for_exit();
    assert!(status.success(), "{status}");

    hanging.sidecar = sidecar_of(&hanging.registry, &hanging.seen, |_| ());
    hanging.pass("while it hangs");
    let client = hanging.client();
    client
        .mount("meanwhile", &hanging.digest, "source")
        .expect(201);
    assert_eq!(hanging.sidecar.mounted(), 0);
    let ready = raw_http::get(hanging.sidecar.admin, "/readyz").expect(503);
    assert!(ready.text().contains("store"), "{}", ready.text());
    hanging.seen.go_on();
    wait_until("it is ready", || {
        raw_http::get(hanging.sidecar.admin, "/readyz").status == 200
    });
    hanging.sidecar.verify_store();
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
