//! What `crossmount check` says about a Redis.

use crate::{needs, support};
use support::program_run::{Ended, check};
use support::redis::{RedisServer, sharing};
use support::registry::Registry;

fn checked(registry: &Registry, url: &str) -> Ended {
    let ended = check(registry, |config| sharing(url)(config));
    for secret in ["the-password", support::redis::KEY] {
        assert!(!ended.out.contains(secret), "{}", ended.out);
    }
    ended
}

#[track_caller]
fn says(ended: &Ended, words: &[&str]) {
    for words in words {
        assert!(ended.out.contains(words), "{words}: {}", ended.out);
    }
}

#[test]
fn a_check_names_the_server_its_speed_and_its_memory() {
    needs!("docker-registry", "redis-server");
    let registry = Registry::start();
    let redis = RedisServer::with(&["maxmemory 64mb", "maxmemory-policy allkeys-lru"]);
    let ended = checked(&registry, &redis.url());
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let place = format!("ok: redis://127.0.0.1:{} answered in ", redis.port);
    says(
        &ended,
        &[
            &place,
            "it is Redis 7.",
            "of 64.00M of memory in use, maxmemory-policy allkeys-lru",
        ],
    );
    assert!(redis.ask::<Vec<String>>(redis::cmd("KEYS").arg("*")).len() <= 1);
}

#[test]
fn a_check_says_why_a_server_cannot_be_used() {
    needs!("docker-registry", "redis-server");
    let registry = Registry::start();
    let redis = RedisServer::with(&["requirepass the-password"]);
    let at = |login: &str| format!("redis://{login}127.0.0.1:{}", redis.port);
    let wrong = checked(&registry, &at(":the-password-of-another-server@"));
    assert_eq!(wrong.code, Some(1), "{}", wrong.out);
    says(
        &wrong,
        &[
            "fault: redis://(masked):(masked)@127.0.0.1:",
            "correct the user and the password",
        ],
    );
    let none = checked(&registry, &at(""));
    assert_eq!(none.code, Some(1), "{}", none.out);
    says(&none, &["write its password into discovery.redis.url"]);
    let nowhere = checked(&registry, "redis://127.0.0.1:1");
    assert_eq!(nowhere.code, Some(1), "{}", nowhere.out);
    says(
        &nowhere,
        &["fault: redis://127.0.0.1:1: ", "can this host reach it"],
    );
    let full = RedisServer::with(&["maxmemory 1kb", "maxmemory-policy noeviction"]);
    let full = checked(&registry, &full.url());
    assert_eq!(full.code, Some(1), "{}", full.out);
    says(&full, &["accepts no changes", "raise maxmemory"]);
}

#[test]
fn a_check_does_without_info_and_recognizes_a_node_of_a_cluster() {
    needs!("docker-registry", "redis-server");
    let registry = Registry::start();
    let redis = RedisServer::with(&["user default on nopass ~* +@all -info"]);
    let ended = checked(&registry, &redis.url());
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    says(&ended, &["does not permit INFO"]);
    let node = RedisServer::node("redis-server");
    let ended = checked(&registry, &node.url());
    says(&ended, &["write redis+cluster:// in discovery.redis.url"]);
}

#[test]
fn a_check_names_the_permissions_that_waiting_for_uploads_needs() {
    needs!("docker-registry", "redis-server");
    let registry = Registry::start();
    let redis = RedisServer::with(&["user default on nopass ~* +@all -hset"]);
    assert_eq!(checked(&registry, &redis.url()).code, Some(0));
    let waits = |config: &mut serde_json::Value| {
        sharing(&redis.url())(config);
        config["discovery"]["wait_for_uploads"] = serde_json::json!("10s");
    };
    let ended = check(&registry, waits);
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    says(&ended, &["cannot share uploads in flight", "HGETALL, HSET"]);
}
