//! Two replicas in front of a registry that mounts itself: they know only what passes through them.

use super::{USERS, authorization, user, with_passwords};
use crate::{needs, support};
use support::redis::{RedisServer, sharing};
use support::registry::Registry;
use support::registry_client::Client;
use support::sidecar::Sidecar;
use support::wait_until;

fn generic(registry: &Registry, redis: &RedisServer) -> Sidecar {
    Sidecar::generic(&registry.url(), sharing(&redis.url()))
}

fn alice(sidecar: &Sidecar) -> Client {
    user(sidecar, 0)
}

#[test]
fn a_layer_that_passed_one_replica_is_mounted_through_another_for_the_same_login() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let replicas = [(); 2].map(|()| generic(&registry, &redis));
    let digest = alice(&replicas[0]).upload("team/base", b"a layer");
    redis.wait_for_holder(&digest, "team/base");
    redis.wait_for_use(&authorization(USERS[0]), "team/base");
    let bob = user(&replicas[1], 1);
    bob.head_blob("other/bobs", &digest).expect(404);
    alice(&replicas[1])
        .head_blob("other/app", &digest)
        .expect(200);
    assert_eq!(replicas[1].mounts("native", "none"), 1);
}

#[test]
fn a_login_that_pushed_through_one_replica_is_known_to_another() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let replicas = [(); 2].map(|()| generic(&registry, &redis));
    let digest = alice(&replicas[0]).upload("base/os", b"a layer");
    redis.wait_for_holder(&digest, "base/os");
    let bob = |number: usize| user(&replicas[number], 1);
    bob(1).head_blob("other/app", &digest).expect(404);
    bob(0).upload("bobs/own", b"another layer");
    redis.wait_for_use(&authorization(USERS[1]), "bobs/own");
    // That base/* is shared is enough for a login that may push.
    bob(1).head_blob("other/app", &digest).expect(200);
}

#[test]
fn a_deletion_through_one_replica_bars_a_head_on_another() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let replicas = [(); 2].map(|()| generic(&registry, &redis));
    let [one, other] = [0, 1].map(|number: usize| alice(&replicas[number]));
    let digest = one.upload("team/base", b"a layer");
    redis.wait_for_holder(&digest, "team/base");
    redis.wait_for_use(&authorization(USERS[0]), "team/base");
    other.head_blob("other/app", &digest).expect(200);
    let path = format!("/v2/other/app/blobs/{digest}");
    one.request("DELETE", &path).send(one.port).expect(202);
    other.head_blob("other/app", &digest).expect(404);
    assert!(!registry.store.has_link("other/app", &digest));
    // A mount asks for the layer, so it is wanted.
    other.mount("other/app", &digest, "team/base").expect(201);
}

#[test]
fn a_restart_forgets_nothing_though_there_is_no_store_to_look_at() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let first = generic(&registry, &redis);
    let digest = alice(&first).upload("team/base", b"a layer");
    redis.wait_for_holder(&digest, "team/base");
    redis.wait_for_use(&authorization(USERS[0]), "team/base");
    drop(first);
    let second = generic(&registry, &redis);
    alice(&second).head_blob("other/app", &digest).expect(200);
}

#[test]
fn a_server_that_was_restarted_empty_learns_again_what_requests_show() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (mut redis, registry) = (RedisServer::start(), with_passwords());
    let sidecar = generic(&registry, &redis);
    let client = alice(&sidecar);
    let digest = client.upload("team/base", b"a layer");
    redis.wait_for_holder(&digest, "team/base");
    redis.wait_for_use(&authorization(USERS[0]), "team/base");
    redis.restart();
    wait_until("the layer is shared again", || {
        client.head_blob("team/base", &digest).expect(200);
        redis.holders(&digest) == ["team/base"]
    });
}
