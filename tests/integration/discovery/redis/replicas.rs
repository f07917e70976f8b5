//! Two replicas in front of one registry, which decides about access.

use super::{USERS, authorization, replica, user, with_passwords};
use crate::{needs, support};
use serde_json::json;
use support::access_control::htpasswd_mode;
use support::redis::{RedisServer, deletion_key, sharing};
use support::sidecar::Sidecar;
use support::wait_until;

#[test]
fn what_one_replica_learns_another_uses_at_once_for_the_same_login() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let replicas = [(); 2].map(|()| replica(&registry, &redis));
    let alice = [0, 1].map(|number: usize| user(&replicas[number], 0));
    let digest = alice[0].upload("team/base", b"a layer");
    redis.wait_for_holder(&digest, "team/base");
    redis.wait_for_use(&authorization(USERS[0]), "team/base");
    user(&replicas[1], 1)
        .head_blob("other/bobs", &digest)
        .expect(404);
    alice[1].head_blob("other/app", &digest).expect(200);
    assert_eq!(replicas[1].mounted(), 1);
    assert!(registry.store.has_link("other/app", &digest));
    assert_eq!(alice[1].pull("other/app", &digest), b"a layer");
}

#[test]
fn where_every_user_may_pull_everything_holders_alone_are_shared() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let replicas = [(); 2].map(|()| {
        let sidecar = Sidecar::with(&registry, |config| {
            htpasswd_mode(&registry)(config);
            sharing(&redis.url())(config);
            // Otherwise the layer is found on the disk.
            config["discovery"]["search_repositories"] = json!(0);
            config["discovery"]["redis"] = json!({"url": redis.url(), "timeout": "500ms"});
        });
        sidecar.verify_store_as(&user(&sidecar, 0));
        sidecar.wait_for_scan();
        sidecar
    });
    let alice = user(&replicas[0], 0);
    let digest = alice.upload("team/base", b"a layer");
    redis.wait_for_holder(&digest, "team/base");
    let bob = user(&replicas[1], 1);
    bob.head_blob("other/app", &digest).expect(200);
    assert_eq!(replicas[1].mounted(), 1);
    let keys: Vec<Vec<u8>> = redis.ask(redis::cmd("KEYS").arg("crossmount:[uw]*"));
    assert!(keys.is_empty(), "{keys:?}");
}

#[test]
fn a_restart_forgets_nothing() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let first = replica(&registry, &redis);
    let client = user(&first, 0);
    let digest = client.upload("team/base", b"a layer");
    redis.wait_for_holder(&digest, "team/base");
    redis.wait_for_use(&authorization(USERS[0]), "team/base");
    drop(first);
    let second = replica(&registry, &redis);
    let client = user(&second, 0);
    client.head_blob("other/app", &digest).expect(200);
    assert_eq!(second.mounted(), 1);
}

#[test]
fn a_deletion_is_shared_before_the_registry_gets_it_and_taken_back_if_it_refuses() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let registry = with_passwords();
    let replicas = [(); 2].map(|()| replica(&registry, &redis));
    let client = user(&replicas[0], 0);
    let digest = client.upload("team/base", b"a layer");
    redis.wait_for_holder(&digest, "team/base");
    redis.wait_for_use(&authorization(USERS[0]), "team/base");
    let is_deleted = |repository: &str| -> bool {
        redis.ask(redis::cmd("EXISTS").arg(deletion_key(&digest, repository)))
    };
    let delete = |repository: &str| {
        let path = format!("/v2/{repository}/blobs/{digest}");
        client.request("DELETE", &path).send(client.port)
    };
    let other = user(&replicas[1], 0);
    other.head_blob("other/app", &digest).expect(200);
    // There is no such layer there, so the registry refuses.
    delete("other/none").expect(404);
    wait_until("the deletion is taken back", || !is_deleted("other/none"));
    delete("other/app").expect(202);
    assert!(is_deleted("other/app"));
    other.head_blob("other/app", &digest).expect(404);
    // A second deletion is refused, and the first still counts.
    delete("other/app").expect(404);
    other.head_blob("other/app", &digest).expect(404);
    assert!(is_deleted("other/app"));
    // Elsewhere it may appear.
    other.head_blob("other/new", &digest).expect(200);
}

#[test]
fn what_the_disk_contradicts_is_forgotten_for_all() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let sidecar = replica(&registry, &redis);
    let client = user(&sidecar, 0);
    let digest = client.upload("team/base", b"a layer");
    redis.wait_for_holder(&digest, "team/base");
    let path = format!("/v2/team/base/blobs/{digest}");
    let direct = registry.client().basic(USERS[0].0, USERS[0].1);
    direct
        .request("DELETE", &path)
        .send(direct.port)
        .expect(202);
    client.head_blob("other/app", &digest).expect(404);
    wait_until("the holder is forgotten", || {
        redis.holders(&digest).is_empty()
    });
}

#[test]
fn what_a_scan_finds_is_not_shared() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let direct = registry.client().basic(USERS[0].0, USERS[0].1);
    let digest = direct.upload("team/base", b"a layer");
    let sidecar = replica(&registry, &redis);
    assert!(sidecar.metric("crossmount_index_links", &[]) >= 1.0);
    let shown = user(&sidecar, 0);
    let another = shown.upload("team/other", b"another layer");
    redis.wait_for_holder(&another, "team/other");
    assert!(redis.holders(&digest).is_empty());
}
