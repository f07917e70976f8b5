//! Whatever becomes of an upload, one client over all replicas goes on.

use super::{LAYER, Leader, Pair, sorted};
use crate::{needs, support};
use std::time::{Duration, Instant};
use support::redis::RedisServer;

#[test]
fn when_an_upload_breaks_off_one_client_over_all_replicas_goes_on() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let pair = Pair::through(&redis, "30s");
    let leader = Leader::begins(pair.client(0, "leader"), "leader/app", LAYER);
    let began = Instant::now();
    let all = pair.four_push(pair.each_users_clients(), || leader.breaks_off());
    assert_eq!(sorted(&all), [200, 200, 200, 404]);
    let ended = |result| pair.ended(0, result) + pair.ended(1, result);
    assert_eq!((ended("linked"), ended("released")), (3, 1));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn when_a_client_falls_silent_one_client_over_all_replicas_goes_on() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let pair = Pair::through(&redis, "30s");
    let leader = Leader::begins(pair.client(0, "leader"), "leader/app", LAYER);
    let mut silent = None;
    let all = pair.four_push(pair.each_users_clients(), || {
        silent = Some(leader.falls_silent());
    });
    assert_eq!(sorted(&all), [200, 200, 200, 404]);
    drop(silent);
}

#[test]
fn when_a_client_asks_and_does_not_upload_one_at_the_other_replica_goes_on() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let pair = Pair::through(&redis, "30s");
    let digest = super::digest_of(LAYER);
    pair.client(0, "leader")
        .head_blob("leader/app", &digest)
        .expect(404);
    let got = super::push(&pair.client(1, "one"), "one/app", LAYER);
    assert_eq!(got.status, 404);
    let expected = Duration::from_secs(1)..Duration::from_secs(8);
    assert!(expected.contains(&got.after), "{:?}", got.after);
}

#[test]
fn when_a_replica_is_killed_one_client_at_the_other_one_goes_on() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let mut pair = Pair::through(&redis, "30s");
    let _leader = Leader::begins(pair.client(0, "leader"), "leader/app", LAYER);
    let clients = ["one", "two", "three"].map(|user| (user, pair.client(1, user)));
    let mut killed = Instant::now();
    let all: Vec<_> = std::thread::scope(|scope| {
        let pushes = clients.map(|(user, client)| {
            scope.spawn(move || super::push(&client, &format!("{user}/app"), LAYER))
        });
        pair.wait_until_held(1, 3);
        pair.replicas[0].signal(rustix::process::Signal::KILL);
        killed = Instant::now();
        pushes.map(|push| push.join().unwrap()).into()
    });
    assert_eq!(sorted(&all), [200, 200, 404]);
    assert!(killed.elapsed() < Duration::from_secs(10));
    pair.replicas[0].wait_for_exit();
}
