//! A Redis that is down, frozen, full or wrong: no push fails, no HEAD waits for long, and all is
//! well again by itself.

use super::{refused, replica, replica_at, user, with_passwords};
use crate::{needs, support};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use support::redis::RedisServer;
use support::registry_client::Client;
use support::sidecar::Sidecar;
use support::wait_until;

/// The longest that a HEAD may take: `discovery.redis.timeout`, and what a busy machine adds.
const LONGEST: Duration = Duration::from_secs(2);

fn alice(sidecar: &Sidecar) -> Client {
    user(sidecar, 0)
}

/// A push and HEADs, which go by what the replica itself knows.
#[track_caller]
fn works_by_local_knowledge(sidecar: &Sidecar, name: &str) {
    let client = alice(sidecar);
    let digest = client.upload(&format!("team/{name}"), name.as_bytes());
    for number in 0..6 {
        let begin = Instant::now();
        let target = format!("other/{name}{number}");
        client.head_blob(&target, &digest).expect(200);
        let took = begin.elapsed();
        assert!(took < LONGEST, "{name}: {took:?}");
    }
    let path = format!("/v2/other/{name}0/blobs/{digest}");
    client
        .request("DELETE", &path)
        .send(client.port)
        .expect(202);
    client
        .head_blob(&format!("other/{name}0"), &digest)
        .expect(404);
}

fn requests(sidecar: &Sidecar, result: &str) -> f64 {
    sidecar.metric("crossmount_redis_requests_total", &[("result", result)])
}

/// It is used again, without a restart of the sidecar.
#[track_caller]
fn recovers(sidecar: &Sidecar) {
    let before = requests(sidecar, "answered");
    let client = alice(sidecar);
    let absent = support::digest_of(b"held by no repository");
    wait_until("redis is used again", || {
        client.head_blob("other/absent", &absent).expect(404);
        requests(sidecar, "answered") > before
    });
    sidecar.log_lines_with("redis connected", 1);
}

#[test]
fn a_frozen_server_costs_three_timeouts_and_then_none() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (redis, registry) = (RedisServer::start(), with_passwords());
    let sidecar = replica(&registry, &redis);
    redis.freeze();
    works_by_local_knowledge(&sidecar, "frozen");
    assert!(requests(&sidecar, "timed_out") >= 1.0);
    wait_until("no request waits for it", || {
        let before = requests(&sidecar, "skipped");
        let absent = support::digest_of(b"held by no repository");
        alice(&sidecar)
            .head_blob("other/absent", &absent)
            .expect(404);
        requests(&sidecar, "skipped") > before
    });
    let lines = sidecar.log_lines_with("redis not usable", 1);
    assert_eq!(lines.len(), 1, "{lines:?}");
    redis.thaw();
    recovers(&sidecar);
}

#[test]
fn a_server_that_is_killed_is_used_again_once_it_runs() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let (mut redis, registry) = (RedisServer::start(), with_passwords());
    let sidecar = replica(&registry, &redis);
    redis.kill();
    works_by_local_knowledge(&sidecar, "killed");
    let lines = sidecar.log_lines_with("redis not usable", 1);
    assert_eq!(lines.len(), 1, "{lines:?}");
    redis.resume();
    recovers(&sidecar);
    sidecar.log_lines_with("redis connected", 2);
}

#[test]
fn crossmount_starts_without_the_server() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let mut redis = RedisServer::prepared("redis-server", &[]);
    let registry = with_passwords();
    let sidecar = replica(&registry, &redis);
    works_by_local_knowledge(&sidecar, "missing");
    sidecar.log_lines_with("redis not usable", 1);
    redis.resume();
    recovers(&sidecar);
}

#[test]
fn a_full_server_is_read_and_its_refusals_are_counted() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::with(&["maxmemory 1mb", "maxmemory-policy noeviction"]);
    let registry = with_passwords();
    let sidecar = replica(&registry, &redis);
    works_by_local_knowledge(&sidecar, "full");
    wait_until("refusals are counted", || {
        requests(&sidecar, "failed") > 0.0
    });
    assert!(requests(&sidecar, "answered") > 0.0);
    let lines = sidecar.log_lines_with("redis write refused", 1);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(!sidecar.log().contains("redis not usable"));
    let _: () = redis.ask(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(0));
    let digest = alice(&sidecar).upload("team/again", b"again");
    redis.wait_for_holder(&digest, "team/again");
}

#[test]
fn a_wrong_password_is_named_without_it_and_may_become_right() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::with(&["requirepass the-right-password"]);
    let registry = with_passwords();
    let url = format!("redis://:the-wrong-password@127.0.0.1:{}", redis.port);
    let (sidecar, error) = refused(|| replica_at(&registry, &url));
    works_by_local_knowledge(&sidecar, "wrong");
    let lines = sidecar.log_lines_with("redis not usable", 1);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        error.to_lowercase().contains("password") || error.contains("WRONGPASS"),
        "{error}"
    );
    assert!(!sidecar.log().contains("the-wrong-password"));
    let client = format!("redis://:the-right-password@127.0.0.1:{}", redis.port);
    let mut connection = redis::Client::open(client)
        .unwrap()
        .get_connection()
        .unwrap();
    let mut command = redis::cmd("CONFIG");
    command
        .arg("SET")
        .arg("requirepass")
        .arg("the-wrong-password");
    command.query::<()>(&mut connection).unwrap();
    recovers(&sidecar);
}

/// Answers whatever it gets with these bytes, for as long as the test runs.
fn rubbish(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut got = [0; 4096];
                while stream.read(&mut got).is_ok_and(|count| count > 0) {
                    if stream.write_all(bytes).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[test]
fn a_server_that_says_anything_else_is_not_used() {
    needs!("docker-registry", "htpasswd");
    let registry = with_passwords();
    for (number, bytes) in [
        &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"$999999999999\r\n",
        b"*2000000000\r\n",
        b"-ERR the-password-of-redis\r\n",
        b"+OK\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let port = rubbish(bytes);
        let url = format!("redis://:the-password-of-redis@127.0.0.1:{port}");
        let mut sidecar = replica_at(&registry, &url);
        works_by_local_knowledge(&sidecar, &format!("rubbish{number}"));
        assert!(sidecar.is_running(), "{number}");
        assert!(!sidecar.log().contains("the-password-of-redis"), "{number}");
    }
}
