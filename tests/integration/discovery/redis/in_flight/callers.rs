//! Who may not pull where another replica's upload goes causes the same as without that upload.

use super::{LAYER, Leader, waiting};
use crate::{needs, support};
use std::thread;
use std::time::{Duration, Instant};
use support::digest_of;
use support::redis::RedisServer;
use support::sidecar::Sidecar;
use support::token_issuer::TokenIssuer;

const ALL: &[&str] = &["pull", "push"];
const ABSENT: &[u8] = b"a layer that no client uploads";
/// A claim ends after two seconds, and its end is removed two seconds later.
const ENDED: Duration = Duration::from_secs(6);

/// The kinds of commands, each once; but how often uploads are asked for counts.
fn kinds(commands: &[String]) -> Vec<String> {
    let mut kinds = Vec::new();
    for command in commands {
        // Each command names its key: prefix and kind.
        let words: Vec<_> = command.split("\" \"").collect();
        let name = words[0].trim_matches('"').to_ascii_uppercase();
        let key = words.get(1).and_then(|key| key.get(..12));
        let state = words.get(3).and_then(|value| value.split(' ').next());
        let kind = match (&*name, key, state) {
            ("HSET", Some(key), Some(state)) => format!("{name} {key} {state}"),
            (_, Some(key), _) => format!("{name} {key}"),
            (_, None, _) => name.clone(),
        };
        if name == "HGETALL" || !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

#[test]
fn answers_and_requests_and_what_redis_sees_are_the_same_during_an_upload() {
    needs!("docker-registry", "openssl", "redis-server");
    let tokens = TokenIssuer::new();
    let registry = tokens.registry_with_log();
    for mode in ["token", "upstream", "generic"] {
        let redis = RedisServer::start();
        let replica = || {
            let change = |config: &mut _| waiting(&redis.url(), "30s")(config);
            if mode == "generic" {
                return Sidecar::generic(&registry.url(), change);
            }
            Sidecar::with(&registry, |config| {
                tokens.verify_in(mode, config);
                change(config);
            })
        };
        let place = format!("secret/{mode}");
        let access = [("proof/of-store", ALL), (&*place, ALL)];
        let owner = tokens.token("owner", &access);
        let one = replica();
        let before = redis.clients();
        let other = replica();
        let new = |client: &String| !before.contains(client);
        let connection = redis.clients().into_iter().find(new).unwrap();
        for sidecar in [&one, &other] {
            sidecar.verify_store_as(&sidecar.client().bearer(&owner));
        }
        let layer = format!("{} {mode}", String::from_utf8_lossy(LAYER)).into_bytes();
        let owner = one.client().bearer(&owner);
        let leader = Leader::begins(owner, &place, &layer);
        let monitor = redis.monitor();
        let faces = [(&*layer, "one"), (ABSENT, "two")].map(|(bytes, name)| {
            let token = tokens.token(name, &[("target/app", ALL)]);
            let (client, digest) = (other.client().bearer(&token), digest_of(bytes));
            let before = registry.log().len();
            monitor.take();
            let began = Instant::now();
            let answer = client.head_blob("target/app", &digest);
            let took = began.elapsed();
            assert!(took < Duration::from_secs(1), "{mode}: {took:?}");
            let wait = Duration::from_millis(300);
            let asked = registry.requests_since(before, wait, |all| !all.is_empty());
            let asked: Vec<_> = asked.iter().map(|it| it.replace(&digest, "D")).collect();
            thread::sleep(ENDED.saturating_sub(began.elapsed()));
            let told = kinds(&monitor.take_of(&connection));
            (answer.status, asked, told)
        });
        assert_eq!(faces[0], faces[1], "{mode}");
        let (status, _, told) = &faces[0];
        assert_eq!(*status, 404);
        assert!(
            told.contains(&"HGETALL crossmount:f".to_owned()),
            "{told:?}"
        );
        if mode != "generic" {
            let claimed = "HSET crossmount:f claimed".to_owned();
            assert!(told.contains(&claimed), "{mode}: {told:?}");
        }
        leader.breaks_off();
    }
}

#[test]
fn a_head_that_cannot_be_held_asks_nothing() {
    needs!("docker-registry", "openssl", "redis-server");
    let tokens = TokenIssuer::new();
    let (registry, redis) = (tokens.registry(), RedisServer::start());
    let sidecar = Sidecar::with(&registry, |config| {
        tokens.verify_here(config);
        waiting(&redis.url(), "30s")(config);
    });
    let owner = tokens.token("owner", &[("proof/of-store", ALL), ("target/app", ALL)]);
    let owner = sidecar.client().bearer(&owner);
    sidecar.verify_store_as(&owner);
    let digest = owner.upload("target/app", b"a layer");
    let monitor = redis.monitor();
    // It is there, or the caller may not push.
    owner.head_blob("target/app", &digest).expect(200);
    let reader = tokens.token("reader", &[("target/app", &["pull"])]);
    let reader = sidecar.client().bearer(&reader);
    reader
        .head_blob("target/app", &digest_of(ABSENT))
        .expect(404);
    thread::sleep(Duration::from_millis(500));
    let asked = monitor.take();
    assert!(!asked.iter().any(|it| it.contains("HGETALL")), "{asked:?}");
}
