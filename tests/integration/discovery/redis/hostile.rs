//! A Redis in which everything is made up grants no caller anything.

use super::{USERS, authorization, replica, user, with_passwords};
use crate::{needs, support};
use serde_json::json;
use support::redis::{RedisServer, deletion_key, holders_key, login_key, sharing};
use support::sidecar::Sidecar;
use support::token_issuer::{Access, TokenIssuer};
use support::wait_until;

const ALL: &[&str] = &["pull", "push"];

/// Says that these repositories hold a layer, and that a login used them and pushed.
fn make_up(redis: &RedisServer, digest: &str, login: &str, repositories: &[&str]) {
    for key in [holders_key(digest), login_key("u", login)] {
        for repository in repositories {
            let mut command = redis::cmd("ZADD");
            // Later than any clock.
            command.arg(&key).arg(9_999_999_999_u64).arg(repository);
            let _: () = redis.ask(&mut command);
        }
    }
    let _: () = redis.ask(redis::cmd("SET").arg(login_key("w", login)).arg(1));
}

#[test]
fn made_up_holders_and_uses_open_no_repository() {
    needs!("docker-registry", "openssl", "redis-server");
    let (redis, tokens) = (RedisServer::start(), TokenIssuer::new());
    let registry = tokens.registry();
    let owner = tokens.token("owner", &[("secret/one", ALL), ("base/os", ALL)]);
    let owner = registry.client().bearer(&owner);
    let digest = owner.upload("secret/one", b"a secret layer");
    owner.upload("base/os", b"a secret layer");
    let only: &[Access] = &[("target/app", ALL)];
    let token = tokens.token("ci", only);
    let names = [
        "secret/one",
        "base/os",
        "../../etc",
        "target/app",
        "",
        "A B",
    ];
    make_up(&redis, &digest, &format!("Bearer {token}"), &names);
    let upstream = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "upstream"});
        sharing(&redis.url())(config);
        // What is declared shared may be mounted, so it is left out.
        config["discovery"]["shared_sources"] = json!(["nothing/*"]);
    });
    let proof = tokens.token("owner", &[("proof/of-store", ALL)]);
    upstream.verify_store_as(&upstream.client().bearer(&proof));
    let generic = Sidecar::generic(&registry.url(), |config| {
        sharing(&redis.url())(config);
        config["discovery"]["shared_sources"] = json!(["nothing/*"]);
    });
    for sidecar in [&upstream, &generic] {
        let client = sidecar.client().bearer(&token);
        client.head_blob("target/app", &digest).expect(404);
        let path = format!(
            "/v2/target/app/blobs/uploads/?mount={}",
            support::registry_client::encoded(&digest)
        );
        let answer = client.request("POST", &path).send(client.port);
        assert!([202, 401].contains(&answer.status), "{answer:?}");
        client.mount("target/app", &digest, "target/other");
        let asked = sidecar.metric("crossmount_redis_requests_total", &[("result", "answered")]);
        assert!(asked > 0.0);
        assert_eq!(sidecar.mounted(), 0);
    }
    assert!(!registry.store.has_link("target/app", &digest));
    assert_eq!(generic.mounts("native", "none"), 0);
}

#[test]
fn made_up_holders_that_hold_nothing_are_of_no_use_and_push_nothing_out() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let sidecar = replica(&registry, &redis);
    let client = user(&sidecar, 0);
    let known = client.upload("team/base", b"known here");
    let links = sidecar.metric("crossmount_index_links", &[]);
    let names: Vec<_> = (0..1000).map(|number| format!("made/up{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let absent = support::digest_of(b"held by no repository");
    let login = authorization(USERS[0]);
    make_up(&redis, &absent, &login, &names);
    make_up(&redis, &known, &login, &names);
    client.head_blob("other/absent", &absent).expect(404);
    let now = sidecar.metric("crossmount_index_links", &[]);
    assert!((links - now).abs() < 0.5, "{links} {now}");
    // The local holder is tried first.
    client.head_blob("other/app", &known).expect(200);
}

#[test]
fn a_made_up_deletion_bars_a_head_and_no_push() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let sidecar = replica(&registry, &redis);
    let client = user(&sidecar, 0);
    let digest = client.upload("team/base", b"a layer");
    let key = deletion_key(&digest, "other/app");
    let _: () = redis.ask(redis::cmd("SET").arg(key).arg(1));
    client.head_blob("other/app", &digest).expect(404);
    client.mount("other/app", &digest, "team/base").expect(201);
    client.upload("other/app", b"a layer");
    client.head_blob("other/app", &digest).expect(200);
}

#[test]
fn keys_of_another_type_are_no_knowledge() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let sidecar = replica(&registry, &redis);
    let client = user(&sidecar, 0);
    let digest = support::digest_of(b"a layer");
    let _: () = redis.ask(redis::cmd("SET").arg(holders_key(&digest)).arg("x"));
    client.upload("team/base", b"a layer");
    client.head_blob("other/app", &digest).expect(200);
    wait_until("the error is counted", || {
        sidecar.metric("crossmount_redis_requests_total", &[("result", "failed")]) > 0.0
    });
}
