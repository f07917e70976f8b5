//! A Redis in which uploads are made up: a HEAD waits for its longest time, once.

use super::{LAYER, Pair, digest_of, push};
use crate::{needs, support};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support::redis::{RedisServer, flights_key};
use support::stop_guard::StopGuard;

/// The upload of a made-up replica.
fn make_up(redis: &RedisServer, digest: &str, number: u64, value: &str) {
    let field = [[7; 8], number.to_be_bytes()].concat();
    let mut command = redis::cmd("HSET");
    command.arg(flights_key(digest)).arg(field).arg(value);
    let _: () = redis.ask(&mut command);
}

#[test]
fn an_upload_that_never_ends_holds_a_head_for_its_longest_time_and_then_none() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let pair = Pair::through(&redis, "2s");
    let other = b"another layer";
    let digests = [digest_of(LAYER), digest_of(other)];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopGuard(&stop);
        scope.spawn(|| {
            for beat in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                for digest in &digests {
                    // Each time of another login, in another place.
                    let value = format!("uploading {beat} 1000 {beat} - login - made/up{beat}");
                    make_up(&redis, digest, beat % 8, &value);
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        thread::sleep(Duration::from_millis(200));
        let client = pair.client(1, "one");
        let got = push(&client, "one/app", LAYER);
        assert_eq!(got.status, 404);
        let expected = Duration::from_millis(1900)..Duration::from_secs(5);
        assert!(expected.contains(&got.after), "{:?}", got.after);
        let got = push(&client, "one/app", other);
        assert_eq!(got.status, 404);
        assert!(got.after < Duration::from_millis(1500), "{:?}", got.after);
    });
    assert_eq!(pair.ended(1, "timed_out"), 1);
}

#[test]
fn made_up_arrivals_and_rubbish_grant_nothing() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let redis = RedisServer::start();
    let pair = Pair::through(&redis, "5s");
    let client = pair.client(1, "one");
    let arrived = digest_of(b"an arrival");
    for number in 0..200 {
        let value = format!("arrived {number} 1 1 - login - made/up{number}");
        make_up(&redis, &arrived, number, &value);
    }
    make_up(&redis, &arrived, 1000, "arrived 1 1 1 - login - one/app");
    let rubbish = digest_of(b"rubbish");
    let values = [
        "",
        "uploading",
        "uploading 1 1 1 - login - ../../etc",
        "\u{fffd}",
    ];
    for (number, value) in (0..20_000).zip(values.into_iter().cycle()) {
        make_up_many(&redis, &rubbish, number, value);
    }
    let other_type = digest_of(b"another type");
    let _: () = redis.ask(redis::cmd("SET").arg(flights_key(&other_type)).arg("x"));
    for (digest, bytes) in [
        (&arrived, &b"an arrival"[..]),
        (&rubbish, b"rubbish"),
        (&other_type, b"another type"),
    ] {
        let got = push(&client, "one/app", bytes);
        assert_eq!(got.status, 404, "{digest}");
        assert!(got.after < Duration::from_secs(3), "{:?}", got.after);
        client.head_blob("one/app", digest).expect(200);
    }
    assert!(!pair.registry.store.has_link("made/up1", &arrived));
}

fn make_up_many(redis: &RedisServer, digest: &str, number: u64, value: &str) {
    thread_local! {
        static CONNECTION: std::cell::RefCell<Option<redis::Connection>> =
            const { std::cell::RefCell::new(None) };
    }
    CONNECTION.with_borrow_mut(|connection| {
        let connection = connection.get_or_insert_with(|| redis.connect());
        let mut command = redis::cmd("HSET");
        command.arg(flights_key(digest)).arg(number).arg(value);
        command.query::<()>(connection).unwrap();
    });
}
