//! Remembered answers of the token endpoint.

use crate::support;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};
use support::misbehaving_upstream::{MisbehavingUpstream, Reply};
use support::pulp::{self, ADMIN, Pulp, fresh, settled};
use support::raw_http::{Answer, Connection};
use support::registry_client::Client;
use support::sidecar::Sidecar;
use support::{base64, wait_until};

const ASKED: &str = "/token/?service=s&scope=repository%3Aa%3Apull%2Cpush";
const GRANTED: &str = r#"[{"type":"repository","name":"a","actions":["push","pull"]}]"#;

fn remembering(config: &mut Value) {
    config["token_endpoint"] = json!({"cache": {"enabled": true}});
}

#[test]
fn pulp_is_asked_once_for_the_same_login_and_scope() {
    let Some(pulp) = pulp::start() else { return };
    let sidecar = pulp.sidecar(remembering);
    let repository = format!("{}/app", fresh("team"));
    let target = Pulp::token_target(
        sidecar.port,
        &[&format!("repository:{repository}:pull,push")],
    );
    let client = sidecar.client().basic(ADMIN, pulp.password());
    let asked = |target: &str| pulp.answered(&format!("GET {target} ")).len();
    let first = client.get(&target).expect(200);
    let second = client.get(&target).expect(200);
    assert_eq!(first.body, second.body);
    assert!(first.header("Age").is_none() && second.header("Age").is_some());
    settled(|| asked(&target), 1);
    // It is good for a push.
    let token: Value = serde_json::from_slice(&second.body).unwrap();
    let bearer = sidecar.client().bearer(token["token"].as_str().unwrap());
    bearer.upload(&repository, b"bytes");
    // Another login, query or host is another question.
    client.get(&format!("{target}&account=admin")).expect(200);
    let user = pulp.user();
    sidecar
        .client()
        .basic(&user, &user)
        .get(&target)
        .expect(200);
    let elsewhere = client
        .request("GET", &target)
        .header("Host", "elsewhere.example");
    elsewhere.send(sidecar.port).expect(200);
    settled(|| asked(&target), 3);
    let hits = sidecar.metric(
        "crossmount_token_cache_requests_total",
        &[("result", "hit")],
    );
    assert!((hits - 1.0).abs() < 0.1, "{hits}");
}

#[test]
fn equal_questions_at_once_ask_pulp_once() {
    let Some(pulp) = pulp::start() else { return };
    let sidecar = pulp.sidecar(remembering);
    let scope = format!("repository:{}/app:pull,push", fresh("team"));
    let target = Pulp::token_target(sidecar.port, &[&scope]);
    let client = sidecar.client().basic(ADMIN, pulp.password());
    let answers: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| client.get(&target)))
            .collect();
        asking
            .into_iter()
            .map(|one| one.join().unwrap().expect(200).body)
            .collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    settled(|| pulp.answered(&format!("GET {target} ")).len(), 1);
}

#[test]
fn a_refusal_of_pulps_is_not_remembered() {
    let Some(pulp) = pulp::start() else { return };
    let sidecar = pulp.sidecar(remembering);
    let user = pulp.user();
    let scopes = [
        format!("repository:{user}/app:pull,push"),
        "repository:somebody/elses:push".to_owned(),
    ];
    let target = Pulp::token_target(sidecar.port, &[&scopes[0], &scopes[1]]);
    let client = sidecar.client().basic(&user, &user);
    for count in 1..=3 {
        client.get(&target).expect(200);
        settled(|| pulp.answered(&format!("GET {target} ")).len(), count);
    }
}

/// A token endpoint that gives every token out once, and counts.
struct Endpoint {
    upstream: MisbehavingUpstream,
    sidecar: Sidecar,
}

fn token(access: &str, life: u64) -> String {
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = format!(
        r#"{{"sub":"u","access":{access},"iat":{now},"exp":{}}}"#,
        now + life
    );
    let claims = base64(claims.as_bytes());
    let claims = claims
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    format!("e30.{claims}.c2ln")
}

/// A sidecar that caches the answers of this endpoint by these settings.
fn caching(upstream: &MisbehavingUpstream, cache: &Value) -> Sidecar {
    Sidecar::generic(&upstream.url(), |config| {
        config["token_endpoint"] = json!({"path": "/token/", "cache": cache});
    })
}

/// A token that can be kept.
fn granted() -> Reply {
    let body = format!(r#"{{"expires_in":300,"token":"{}"}}"#, token(GRANTED, 300));
    Reply::Answer(support::misbehaving_upstream::ok(&body))
}

impl Endpoint {
    /// Answers with these headers, and a token with this access and life in seconds.
    fn new(headers: &'static str, access: &'static str, life: u64, ttl: &str) -> Self {
        Self::pausing(headers, access, life, ttl, Duration::ZERO)
    }

    fn pausing(
        headers: &'static str,
        access: &'static str,
        life: u64,
        ttl: &str,
        pause: Duration,
    ) -> Self {
        let number = AtomicUsize::new(0);
        let upstream = MisbehavingUpstream::start(move |_| {
            thread::sleep(pause);
            let number = number.fetch_add(1, Ordering::Relaxed);
            let token = token(access, life);
            let body = format!(r#"{{"number":{number},"expires_in":{life},"token":"{token}"}}"#);
            Reply::Answer(
                format!(
                    "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}",
                    body.len()
                )
                .into_bytes(),
            )
        });
        let cache = json!({"enabled": true, "ttl": ttl});
        Self {
            sidecar: caching(&upstream, &cache),
            upstream,
        }
    }

    fn client(&self) -> Client {
        self.sidecar.client().basic("u", "p")
    }

    /// How often it is asked for two questions of this client, one after the other.
    fn asked_for_two(&self, ask: impl Fn() -> Answer) -> usize {
        ask();
        ask();
        self.upstream.all().len()
    }
}

#[test]
fn private_or_incomplete_token_responses_are_never_cached() {
    for (headers, access, asked) in [
        ("", GRANTED, 1),
        ("Vary: Accept, Cookie\r\n", GRANTED, 1),
        ("Cache-Control: max-age=20\r\n", GRANTED, 1),
        ("Cache-Control: max-age=0\r\n", GRANTED, 2),
        ("Cache-Control: no-store\r\n", GRANTED, 2),
        ("Cache-Control: private\r\n", GRANTED, 2),
        ("Cache-Control: no-cache\r\n", GRANTED, 2),
        ("Vary: *\r\n", GRANTED, 2),
        ("Set-Cookie: a=b\r\n", GRANTED, 2),
        ("Expires: 0\r\n", GRANTED, 2),
        ("", "[]", 2),
        (
            "",
            r#"[{"type":"repository","name":"a","actions":["pull"]}]"#,
            2,
        ),
        (
            "",
            r#"[{"type":"repository","name":"b","actions":["pull","push"]}]"#,
            2,
        ),
    ] {
        let endpoint = Endpoint::new(headers, access, 300, "30s");
        let client = endpoint.client();
        let count = endpoint.asked_for_two(|| client.get(ASKED).expect(200));
        assert_eq!(count, asked, "{headers} {access}");
    }
}

#[test]
fn requests_that_are_not_alike_are_passed_through() {
    let endpoint = Endpoint::new("", GRANTED, 300, "30s");
    let client = endpoint.client();
    let port = endpoint.sidecar.port;
    let mut asked = 0;
    for request in [
        endpoint.sidecar.client().request("GET", ASKED),
        client.clone().header("Cookie", "a=b").request("GET", ASKED),
        client
            .clone()
            .header("Cache-Control", "no-cache")
            .request("GET", ASKED),
        client.request("GET", &format!("{ASKED}&offline_token=true")),
        client.request("POST", ASKED),
        client.request("GET", "/token?service=s"),
        client.request("GET", "/other/"),
    ] {
        for _ in 0..2 {
            request.send(port).expect(200);
            asked += 1;
            assert_eq!(endpoint.upstream.all().len(), asked, "{request:?}");
        }
    }
}

#[test]
fn an_answer_that_varies_is_given_to_the_like_alone() {
    let endpoint = Endpoint::new("Vary: Accept-Language\r\n", GRANTED, 300, "30s");
    let client = endpoint.client();
    let speaking = |language: &str| {
        client
            .clone()
            .header("Accept-Language", language)
            .get(ASKED)
    };
    let first = speaking("en").expect(200).body;
    assert_eq!(speaking("en").expect(200).body, first);
    assert_ne!(speaking("de").expect(200).body, first);
    assert_ne!(client.get(ASKED).expect(200).body, first);
    assert_eq!(speaking("en").expect(200).body, first);
    // Where nothing varies, nobody's name for itself makes a difference.
    let endpoint = Endpoint::new("", GRANTED, 300, "30s");
    let named = |name: &str| endpoint.client().header("User-Agent", name).get(ASKED);
    assert_eq!(named("one").body, named("other").body);
}

#[test]
fn an_answer_is_forgotten_in_time() {
    for (life, ttl) in [(300, "1s"), (4, "30s")] {
        let endpoint = Endpoint::new("", GRANTED, life, ttl);
        let client = endpoint.client();
        let first = client.get(ASKED).expect(200).body;
        wait_until("the answer is forgotten", || {
            client.get(ASKED).body != first
        });
    }
}

#[test]
fn an_answers_age_is_its_own_and_ours() {
    let endpoint = Endpoint::new("Age: 10\r\n", GRANTED, 300, "30s");
    let client = endpoint.client();
    let first = client.get(ASKED).expect(200);
    assert_eq!(first.header("Age"), Some("10"));
    let second = client.get(ASKED).expect(200);
    assert_eq!(first.body, second.body);
    let age: u64 = second.header("Age").unwrap().parse().unwrap();
    assert!((10..60).contains(&age), "{age}");
}

/// An endpoint whose first answer never comes.
fn stuck_at_first() -> (MisbehavingUpstream, Sidecar) {
    let calls = AtomicUsize::new(0);
    let upstream = MisbehavingUpstream::start(move |_| {
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            thread::sleep(Duration::from_secs(3600));
        }
        granted()
    });
    let sidecar = caching(&upstream, &json!({"enabled": true}));
    (upstream, sidecar)
}

fn ask_and_wait(upstream: &MisbehavingUpstream, client: &Client) -> Connection {
    let mut connection = client.connect();
    let request = client.request("GET", ASKED);
    connection.write(&request.bytes(client.port)).unwrap();
    wait_until("the endpoint is asked", || upstream.all().len() == 1);
    connection
}

#[test]
fn a_question_without_an_answer_does_not_hold_up_its_like() {
    let (upstream, sidecar) = stuck_at_first();
    let client = sidecar.client().basic("u", "p");
    let _waiting = ask_and_wait(&upstream, &client);
    client.get(ASKED).expect(200);
    assert_eq!(upstream.all().len(), 2);
}

#[test]
fn a_client_that_leaves_takes_its_question_with_it() {
    let (upstream, sidecar) = stuck_at_first();
    let client = sidecar.client().basic("u", "p");
    drop(ask_and_wait(&upstream, &client));
    let first = client.get(ASKED).expect(200);
    // This one is remembered, as any other.
    assert_eq!(client.get(ASKED).expect(200).body, first.body);
    assert_eq!(upstream.all().len(), 2);
}

#[test]
fn a_refusal_is_shared_by_concurrent_requests_and_never_cached() {
    let endpoint = Endpoint::pausing("", "[]", 300, "30s", Duration::from_secs(2));
    let client = endpoint.client();
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| client.get(ASKED).expect(200));
        }
    });
    assert_eq!(endpoint.upstream.all().len(), 1);
    client.get(ASKED).expect(200);
    assert_eq!(endpoint.upstream.all().len(), 2);
}

#[test]
fn a_client_that_waits_for_a_response_that_cannot_be_shared_sends_its_own_request() {
    let endpoint = Endpoint::pausing(
        "Set-Cookie: a=b\r\n",
        GRANTED,
        300,
        "30s",
        Duration::from_secs(1),
    );
    let client = endpoint.client();
    let bodies: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(|| client.get(ASKED))).collect();
        asking
            .into_iter()
            .map(|one| one.join().unwrap().expect(200).body)
            .collect()
    });
    let mut different = bodies.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), bodies.len());
}

#[test]
fn an_endpoint_that_breaks_off_is_unreachable_and_tried_again() {
    let calls = AtomicUsize::new(0);
    let upstream = MisbehavingUpstream::start(move |_| {
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec();
            return Reply::AnswerAndClose(cut);
        }
        granted()
    });
    let sidecar = caching(&upstream, &json!({"enabled": true}));
    let client = sidecar.client().basic("u", "p");
    client.get(ASKED).expect(502);
    client.get(ASKED).expect(200);
    client.get(ASKED).expect(200);
    assert_eq!(upstream.all().len(), 2);
}

#[test]
fn no_token_is_cached_by_default() {
    let Some(pulp) = pulp::start() else { return };
    let sidecar = pulp.sidecar(|_| ());
    let scope = format!("repository:{}/app:pull,push", fresh("team"));
    let target = Pulp::token_target(sidecar.port, &[&scope]);
    let client = sidecar.client().basic(ADMIN, pulp.password());
    client.get(&target).expect(200);
    client.get(&target).expect(200);
    settled(|| pulp.answered(&format!("GET {target} ")).len(), 2);
}
