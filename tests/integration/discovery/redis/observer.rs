//! What Redis sees of callers who may not use a layer does not depend on whether there is one.

use crate::{needs, support};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::redis::{RedisServer, sharing};
use support::registry_client::{Client, encoded, mount_target};
use support::sidecar::Sidecar;
use support::token_issuer::{Access, TokenIssuer};
use support::wait_until;

const ALL: &[&str] = &["pull", "push"];

/// How often each command was sent, once no more come: no request waits for what it changes.
fn commands(redis: &RedisServer) -> BTreeMap<String, u64> {
    let (mut seen, mut since) = (counted(redis), Instant::now());
    wait_until("the changes are sent", || {
        let now = counted(redis);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(300)
    });
    seen
}

/// The look-up that watches the connection does not count.
fn counted(redis: &RedisServer) -> BTreeMap<String, u64> {
    let text: String = redis.ask(redis::cmd("INFO").arg("commandstats"));
    let known = ["zadd", "zrem", "set", "del", "exists", "zrevrangebyscore"];
    let lines = text.lines().filter_map(|line| {
        let (command, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let count = rest.split(',').next()?.parse().ok()?;
        Some((command.to_owned(), count))
    });
    lines
        .filter(|(command, _)| known.contains(&&**command))
        .collect()
}

/// The commands that a caller's requests for a layer cause.
fn caused(redis: &RedisServer, client: &Client, digest: &str) -> BTreeMap<String, u64> {
    let before = commands(redis);
    client.head_blob("target/app", digest);
    let path = format!("/v2/target/app/blobs/uploads/?mount={}", encoded(digest));
    client.request("POST", &path).send(client.port);
    let path = mount_target("target/app", digest, "secret/one");
    client.request("POST", &path).send(client.port);
    let mut after = commands(redis);
    for (command, count) in before {
        *after.entry(command).or_default() -= count;
    }
    after.retain(|_, count| *count > 0);
    after
}

#[test]
fn the_commands_are_the_same_for_a_layer_that_exists_and_one_that_does_not() {
    needs!("docker-registry", "openssl", "redis-server");
    let (redis, tokens) = (RedisServer::start(), TokenIssuer::new());
    let registry = tokens.registry();
    let owner = [("secret/one", ALL), ("proof/of-store", ALL)];
    let owner = tokens.token("owner", &owner);
    registry
        .client()
        .bearer(&owner)
        .upload("secret/one", b"a first layer");
    let upstream = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "upstream"});
        sharing(&redis.url())(config);
    });
    upstream.verify_store_as(&upstream.client().bearer(&owner));
    upstream.wait_for_scan();
    let generic = Sidecar::generic(&registry.url(), sharing(&redis.url()));
    for (kind, sidecar) in [("upstream", &upstream), ("generic", &generic)] {
        let owner = sidecar.client().bearer(&owner);
        let held = owner.upload("secret/one", kind.as_bytes());
        redis.wait_for_holder(&held, "secret/one");
        let absent = support::digest_of(format!("no {kind}").as_bytes());
        let pull: &[&str] = &["pull"];
        for (actions, may_push) in [(ALL, true), (pull, false)] {
            let access: &[Access] = &[("target/app", actions)];
            // Two subjects: a second request of one is answered otherwise.
            let seen = [("one", &held), ("other", &absent)].map(|(subject, digest)| {
                let subject = format!("{kind} {subject} {may_push}");
                let client = sidecar.client().bearer(&tokens.token(&subject, access));
                caused(&redis, &client, digest)
            });
            assert_eq!(seen[0], seen[1], "{kind} {actions:?}");
            if kind == "upstream" {
                assert_eq!(!seen[0].is_empty(), may_push, "{seen:?}");
            }
        }
    }
}
