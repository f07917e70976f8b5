//! A Redis that stops answering leaves each replica to what it knows itself.

use super::{LAYER, Leader, Pair, digest_of, push, sorted};
use crate::{needs, support};
use std::thread;
use std::time::{Duration, Instant};
use support::redis::RedisServer;
use support::sidecar_metrics::whole;
use support::wait_until;

#[test]
fn heads_that_wait_go_on_soon_after_the_server_freezes() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let pair = Pair::through(&redis, "30s");
    let leader = Leader::begins(pair.client(0, "leader"), "leader/app", LAYER);
    let mut frozen = Instant::now();
    let all = pair.four_push(pair.each_users_clients(), || {
        redis.freeze();
        frozen = Instant::now();
        // What a replica knows itself still holds.
        thread::sleep(Duration::from_secs(5));
        leader.ends();
    });
    // One of the other replica's clients went on.
    assert_eq!(sorted(&all), [200, 200, 200, 404]);
    for (got, replica) in all.iter().zip([0, 1, 0, 1]) {
        assert!(got.status == 200 || replica == 1);
    }
    assert!(frozen.elapsed() < Duration::from_secs(15));
    let requests = pair.replicas[1].metric(
        "crossmount_redis_requests_total",
        &[("result", "timed_out")],
    );
    assert!(whole(requests) > 0);
    redis.thaw();
}

#[test]
fn with_a_frozen_server_no_head_waits_for_it() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let pair = Pair::through(&redis, "30s");
    let leader = Leader::begins(pair.client(0, "leader"), "leader/app", LAYER);
    redis.freeze();
    let got = push(&pair.client(1, "one"), "one/app", LAYER);
    assert_eq!(got.status, 404);
    // Each question costs the time limit, which is half a second here.
    assert!(got.after < Duration::from_secs(4), "{:?}", got.after);
    redis.thaw();
    // All is well again by itself.
    wait_until("a HEAD waits at the other replica", || {
        let layer = format!("layer {:?}", Instant::now()).into_bytes();
        let begun = Leader::begins(pair.client(0, "two"), "two/app", &layer);
        thread::scope(|scope| {
            let (client, digest) = (pair.client(1, "three"), digest_of(&layer));
            let asks = scope.spawn(move || client.head_blob("three/app", &digest).status);
            begun.ends();
            asks.join().unwrap() == 200
        })
    });
    leader.breaks_off();
}
