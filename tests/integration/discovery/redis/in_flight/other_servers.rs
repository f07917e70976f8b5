//! The same through a cluster, Valkey, Sentinels and a login with few permissions, and in front of a
//! registry that mounts itself.

use super::{LAYER, Leader, Pair, USERS, sorted};
use crate::{needs, support};
use std::thread;
use support::redis::{ACL_USER, RedisServer};
use support::sidecar_metrics::whole;
use support::{digest_of, wait_until};

/// A HEAD at each replica waits for uploads at the other one. Their keys are on different nodes.
#[track_caller]
fn is_waited_for(pair: &Pair) {
    for number in 0..6_u8 {
        let layer = [LAYER, &[number]].concat();
        let here = usize::from(number % 2);
        let there = 1 - here;
        let leader = Leader::begins(pair.client(here, "leader"), "leader/app", &layer);
        thread::scope(|scope| {
            let (client, digest) = (pair.client(there, "one"), digest_of(&layer));
            let asks = scope.spawn(move || {
                // A HEAD is not held if the server's response is late, as on a busy machine.
                wait_until("the layer is there", || {
                    client.head_blob("one/app", &digest).status == 200
                });
            });
            pair.wait_until_held(there, 1);
            leader.ends();
            asks.join().unwrap();
        });
    }
    for sidecar in &pair.replicas {
        let failed = [("result", "failed")];
        let failed = sidecar.metric("crossmount_redis_requests_total", &failed);
        assert_eq!(whole(failed), 0, "{}", sidecar.log());
    }
}

#[test]
fn uploads_are_shared_through_a_cluster() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let nodes = RedisServer::cluster("redis-server");
    let url = format!("redis+cluster://127.0.0.1:{}", nodes[0].port);
    is_waited_for(&Pair::at(&url, "30s"));
}

#[test]
fn uploads_are_shared_through_valkey() {
    needs!("docker-registry", "htpasswd", "valkey-server");
    let server = RedisServer::of("valkey-server", &[]);
    is_waited_for(&Pair::through(&server, "30s"));
}

#[test]
fn uploads_are_shared_through_the_server_that_a_sentinel_names() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let server = RedisServer::start();
    let sentinel = server.sentinel();
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port);
    is_waited_for(&Pair::at(&url, "30s"));
}

#[test]
fn uploads_are_shared_with_the_permissions_that_the_documentation_names() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::with(&[ACL_USER]);
    let url = format!("redis://crossmount:secret@127.0.0.1:{}", redis.port);
    let pair = Pair::at(&url, "30s");
    is_waited_for(&pair);
    let refused: Vec<redis::Value> = redis.ask(redis::cmd("ACL").arg("LOG"));
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn another_registry_mounts_for_all_that_waited_at_any_replica() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let pair = Pair::generic(&redis, "30s");
    let ci = || [0, 1, 0, 1].map(|replica: usize| pair.client(replica, "leader"));
    let leader = Leader::begins(pair.client(0, "leader"), "leader/app", LAYER);
    let all = pair.four_push(ci(), || leader.ends());
    assert_eq!(sorted(&all), [200; 4]);
    for replica in [0, 1] {
        assert_eq!(pair.ended(replica, "linked"), 2);
    }
    for user in USERS {
        let client = pair.registry.client().basic(user, "right");
        let pulled = client.pull(&format!("{user}/app"), &digest_of(LAYER));
        assert_eq!(pulled, LAYER);
    }
}

#[test]
fn another_registry_gets_one_further_upload_when_one_breaks_off() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let pair = Pair::generic(&redis, "30s");
    let ci = [0, 1, 0, 1].map(|replica: usize| pair.client(replica, "leader"));
    let leader = Leader::begins(pair.client(0, "leader"), "leader/app", LAYER);
    let all = pair.four_push(ci, || leader.breaks_off());
    assert_eq!(sorted(&all), [200, 200, 200, 404]);
}
