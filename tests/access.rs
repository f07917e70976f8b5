//! Who may mount: asked of the registry with the caller's own credentials.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::faulty::{Heard, Verdict};
use support::pair::{Differences, essence};
use support::played::{Played, refused};
use support::push::Client;
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::tokens::{Access, REALM, SERVICE, Tokens};
use support::wire::Answer;

const BLOB: &[u8] = b"a blob behind access control";

fn upstream_mode(config: &mut Value) {
    config["access"] = json!({"mode": "upstream"});
}

fn challenging(config: &mut Value) {
    upstream_mode(config);
    config["mount"] = json!({"source_denied": "challenge"});
}

/// A registry with passwords, and a sidecar in front of it whose store is proved.
fn behind_passwords(change: impl FnOnce(&mut Value)) -> (Registry, Sidecar, String) {
    let registry = Registry::with_htpasswd(&[("alice", "right"), ("bob", "also right")]);
    let alice = registry.client().basic("alice", "right");
    let digest = alice.upload("source", BLOB);
    let sidecar = Sidecar::with(&registry, change);
    sidecar.prove_as(&alice);
    (registry, sidecar, digest)
}

/// A registry that believes tokens, and a sidecar in front of it whose store is proved.
fn behind_tokens(tokens: &Tokens, change: impl FnOnce(&mut Value)) -> (Registry, Sidecar, String) {
    let registry = tokens.registry();
    let all: &[&str] = &["pull", "push"];
    let token = tokens.token("the owner", &[("source", all), ("proof/of-store", all)]);
    let owner = registry.client().bearer(&token);
    let digest = owner.upload("source", BLOB);
    let sidecar = Sidecar::with(&registry, change);
    sidecar.prove_as(&owner);
    (registry, sidecar, digest)
}

/// What a Bearer challenge demands; its scopes and their actions come in any order.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    rest: BTreeSet<String>,
    scopes: BTreeSet<(String, BTreeSet<String>)>,
}

#[track_caller]
fn challenge(answer: &Answer) -> Challenge {
    assert_eq!(answer.status, 401, "{answer:?}");
    let header = answer.header("Www-Authenticate").expect("a challenge");
    let header = header.strip_prefix("Bearer ").expect("a Bearer challenge");
    let (mut rest, mut scopes) = (BTreeSet::new(), BTreeSet::new());
    for part in header.split("\",") {
        let part = part.trim_end_matches('"');
        match part.strip_prefix("scope=\"") {
            Some(list) => scopes.extend(list.split(' ').map(|scope| {
                let (name, actions) = scope.rsplit_once(':').unwrap();
                (
                    name.to_owned(),
                    actions.split(',').map(str::to_owned).collect(),
                )
            })),
            None => assert!(rest.insert(part.to_owned())),
        }
    }
    Challenge { rest, scopes }
}

fn actions(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|action| (*action).to_owned()).collect()
}

#[test]
fn the_right_password_mounts() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = behind_passwords(upstream_mode);
    for (user, password) in [("alice", "right"), ("bob", "also right")] {
        let client = sidecar.client().basic(user, password);
        client.mount(user, &digest, "source").expect(201);
        assert_eq!(client.pull(user, &digest), BLOB);
        assert_eq!(client.at(registry.port).pull(user, &digest), BLOB);
    }
    assert_eq!(sidecar.mounts("mounted", "none"), 2);
}

#[test]
fn without_credentials_the_registrys_own_challenge_arrives() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = behind_passwords(upstream_mode);
    let ask = |port| {
        Client::new(port)
            .header("Host", "registry.test")
            .mount("target", &digest, "source")
            .expect(401)
    };
    let (theirs, ours) = (ask(registry.port), ask(sidecar.port));
    assert_eq!(
        theirs.header("Www-Authenticate"),
        Some("Basic realm=\"the realm\"")
    );
    assert_eq!(essence(&theirs), essence(&ours));
    assert_eq!(theirs.body, ours.body);
    assert_eq!(sidecar.mounts("forwarded", "no_credentials"), 1);
    assert!(!registry.store.repository("target").exists());
}

#[test]
fn a_wrong_password_is_answered_as_the_registry_answers_an_upload() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = behind_passwords(upstream_mode);
    let wrong = |port| {
        Client::new(port)
            .header("Host", "registry.test")
            .basic("alice", "wrong")
    };
    let ours = wrong(sidecar.port).mount("target", &digest, "source");
    let theirs = wrong(registry.port).begin("target");
    assert_eq!(ours.status, 401);
    assert_eq!(essence(&theirs), essence(&ours));
    assert_eq!(sidecar.mounts("forwarded", "denied"), 1);
    assert!(!registry.store.repository("target").exists());
}

#[test]
fn a_wrong_password_is_answered_as_it_came_where_a_challenge_is_wanted() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = behind_passwords(challenging);
    let ask = |port| {
        Client::new(port)
            .header("Host", "registry.test")
            .basic("nobody", "right")
            .mount("target", &digest, "source")
            .expect(401)
    };
    assert_eq!(essence(&ask(registry.port)), essence(&ask(sidecar.port)));
    assert_eq!(sidecar.mounts("forwarded", "denied"), 1);
}

#[test]
fn nobody_profits_from_somebody_elses_rights() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = behind_passwords(upstream_mode);
    let alice = sidecar.client().basic("alice", "right");
    let others = [
        sidecar.client(),
        sidecar.client().basic("alice", "wrong"),
        sidecar.client().basic("alice", ""),
        sidecar.client().basic("Alice", "right"),
        sidecar.client().basic("alice", "right\0"),
        sidecar.client().header("Authorization", ""),
        sidecar.client().header("Authorization", "Basic"),
        sidecar.client().header("Authorization", "Basic !!!"),
        sidecar
            .client()
            .header("Authorization", "Bearer alice:right"),
        sidecar
            .client()
            .basic("alice", "wrong")
            .basic("alice", "right"),
        sidecar
            .client()
            .header("X-Authorization", "Basic YWxpY2U6cmlnaHQ="),
    ];
    for (at, other) in others.iter().enumerate() {
        alice.mount("target", &digest, "source").expect(201);
        for target in ["target", "elsewhere"] {
            let direct = other.at(registry.port).mount(target, &digest, "source");
            direct.expect(401);
            let answer = other.mount(target, &digest, "source");
            assert_eq!(answer.status, 401, "{other:?}");
        }
        alice
            .mount(&format!("new{at}"), &digest, "source")
            .expect(201);
    }
    assert!(!registry.store.repository("elsewhere").exists());
    assert_eq!(sidecar.mounted(), others.len() as u64 + 1);
}

#[test]
fn credentials_on_one_connection_are_not_kept_for_the_next_request() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = behind_passwords(upstream_mode);
    let mut connection = sidecar.client().connect();
    let mut ask = |client: &Client, target: &str| {
        let path = support::push::mount_target(target, &digest, "source");
        let request = client.request("POST", &path).bytes(sidecar.port);
        connection.write(&request).unwrap();
        connection.answer("POST").unwrap().status
    };
    let alice = sidecar.client().basic("alice", "right");
    assert_eq!(ask(&alice, "one"), 201);
    assert_eq!(ask(&sidecar.client(), "two"), 401);
    assert_eq!(ask(&alice, "three"), 201);
    assert!(!registry.store.repository("two").exists());
    assert_eq!(sidecar.mounted(), 2);
}

#[test]
fn a_password_that_was_changed_is_refused_at_once() {
    needs!("docker-registry", "htpasswd");
    let (mut registry, sidecar, digest) = behind_passwords(upstream_mode);
    let alice = sidecar.client().basic("alice", "right");
    alice.mount("before", &digest, "source").expect(201);
    registry.demand_passwords(&[("alice", "new")]);
    // The registry reads the file again when its time has changed; a decision may live for seconds.
    support::wait_until("the old password is refused", || {
        let answer = alice.at(registry.port).get("/v2/");
        answer.status == 401
    });
    support::wait_until("the old password does not mount", || {
        alice.mount("after", &digest, "source").status == 401
    });
    let answer = alice.mount("later", &digest, "source");
    assert_eq!(answer.status, 401);
    assert!(!registry.store.repository("later").exists());
}

#[test]
fn a_token_with_all_rights_mounts() {
    needs!("docker-registry", "openssl");
    let tokens = Tokens::new();
    let (registry, sidecar, digest) = behind_tokens(&tokens, upstream_mode);
    let rights: &[&[Access]] = &[
        &[("target", &["pull", "push"]), ("source", &["pull"])],
        &[
            ("source", &["pull", "push"]),
            ("target", &["push", "pull", "delete"]),
        ],
        &[
            ("target", &["push"]),
            ("source", &["pull"]),
            ("target", &["pull"]),
        ],
    ];
    for (at, access) in rights.iter().enumerate() {
        let token = tokens.token("ci", access);
        let client = sidecar.client().bearer(&token);
        client.mount("target", &digest, "source").expect(201);
        assert_eq!(client.pull("target", &digest), BLOB);
        let ours = sidecar.mounted() + sidecar.mounts("already_linked", "none");
        assert_eq!(ours, at as u64 + 1, "{:?}", sidecar.all_mounts());
    }
    assert_eq!(sidecar.mounted(), 1);
    assert!(registry.store.link("target", &digest).exists());
}

#[test]
fn without_a_token_the_challenge_names_both_scopes() {
    needs!("docker-registry", "openssl");
    let tokens = Tokens::new();
    let (registry, sidecar, digest) = behind_tokens(&tokens, upstream_mode);
    let ask = |port| {
        Client::new(port)
            .mount("target", &digest, "source")
            .expect(401)
    };
    let (theirs, ours) = (ask(registry.port), ask(sidecar.port));
    let wanted = Challenge {
        rest: [format!("realm=\"{REALM}"), format!("service=\"{SERVICE}")].into(),
        scopes: [
            ("repository:target".to_owned(), actions(&["pull", "push"])),
            ("repository:source".to_owned(), actions(&["pull"])),
        ]
        .into(),
    };
    assert_eq!(challenge(&theirs), wanted);
    assert_eq!(challenge(&ours), wanted);
    assert_eq!(theirs.body, ours.body);
    let names = |answer: &Answer| -> Vec<_> {
        let mut names: Vec<_> = answer
            .headers
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| name != "Connection")
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&theirs), names(&ours));
    assert_eq!(sidecar.mounts("forwarded", "no_credentials"), 1);
}

#[test]
fn a_token_that_does_not_mention_the_source_gets_the_challenge_and_then_the_upload() {
    needs!("docker-registry", "openssl");
    let tokens = Tokens::new();
    let (registry, sidecar, digest) = behind_tokens(&tokens, upstream_mode);
    let ask = |subject: &str, target: &str, source: &str| {
        let all: &[&str] = &["pull", "push"];
        let access: &[Access] = &[("target", all), ("other/target", all)];
        let token = tokens.token(subject, access);
        sidecar
            .client()
            .bearer(&token)
            .mount(target, &digest, source)
    };
    let first = challenge(&ask("ci", "target", "source"));
    assert_eq!(first.scopes.len(), 2);
    assert!(
        first.rest.contains("error=\"insufficient_scope"),
        "{first:?}"
    );

    for (subject, target, source) in [
        ("somebody else", "target", "source"),
        ("ci", "other/target", "source"),
        ("ci", "target", "other/source"),
    ] {
        challenge(&ask(subject, target, source));
    }
    let second = ask("ci", "target", "source").expect(202);
    assert!(second.header("Docker-Upload-Uuid").is_some());
    let token = tokens.token("ci", &[("target", &["pull", "push"])]);
    let client = sidecar.client().bearer(&token);
    client.finish(&second, BLOB).expect(201);
    assert_eq!(client.pull("target", &digest), BLOB);
    assert_eq!(sidecar.mounted(), 0);
    assert_eq!(sidecar.mounts("forwarded", "denied"), 5);
    drop(registry);
}

#[test]
fn a_token_that_nobody_signed_changes_nothing_for_its_subject() {
    needs!("docker-registry", "openssl");
    let tokens = Tokens::new();
    let (_registry, sidecar, digest) = behind_tokens(&tokens, upstream_mode);
    let own: &[Access] = &[("target", &["pull", "push"])];
    let ask = |token: &str| {
        let client = sidecar.client().bearer(token);
        client.mount("target", &digest, "source")
    };
    let token = tokens.token("alice", own);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for garbage in [
        Tokens::new().token("alice", own),
        format!("{signed}."),
        format!("{signed}.{}", signature.to_lowercase()),
        tokens.expired("alice", own),
    ] {
        let refused = challenge(&ask(&garbage));
        assert!(
            refused.rest.contains("error=\"invalid_token"),
            "{refused:?}"
        );
    }
    let first = challenge(&ask(&token));
    assert_eq!(first.scopes.len(), 2);
    assert!(
        first.rest.contains("error=\"insufficient_scope"),
        "{first:?}"
    );
    ask(&tokens.token("alice", own)).expect(202);
    assert_eq!(sidecar.mounts("forwarded", "denied"), 6);
}

#[test]
fn a_token_that_lists_the_source_without_pull_gets_the_upload_at_once() {
    needs!("docker-registry", "openssl");
    let tokens = Tokens::new();
    let (registry, sidecar, digest) = behind_tokens(&tokens, upstream_mode);
    for rights in [&[] as &[&str], &["push"], &["delete"]] {
        let token = tokens.token("ci", &[("target", &["pull", "push"]), ("source", rights)]);
        let client = sidecar.client().bearer(&token);
        let direct = client.at(registry.port).mount("target", &digest, "source");
        direct.expect(401);
        let answer = client.mount("target", &digest, "source").expect(202);
        client.finish(&answer, b"something of its own").expect(201);
    }
    assert!(!registry.store.link("target", &digest).exists());
    assert_eq!(sidecar.mounts("forwarded", "denied"), 3);
}

#[test]
fn where_a_challenge_is_wanted_a_denied_source_is_one() {
    needs!("docker-registry", "openssl");
    let tokens = Tokens::new();
    let (_registry, sidecar, digest) = behind_tokens(&tokens, challenging);
    let own: Access = ("target", &["pull", "push"]);
    for access in [
        &[own] as &[Access],
        &[own, ("source", &[])],
        &[own, ("source", &["push"])],
    ] {
        for _ in 0..3 {
            let client = sidecar.client().bearer(&tokens.token("ci", access));
            let answer = challenge(&client.mount("target", &digest, "source"));
            assert_eq!(answer.scopes.len(), 2);
        }
    }
    assert_eq!(sidecar.mounts("forwarded", "denied"), 9);
}

#[test]
fn a_token_that_the_registry_refuses_never_mounts() {
    needs!("docker-registry", "openssl");
    let tokens = Tokens::new();
    let (registry, sidecar, digest) = behind_tokens(&tokens, upstream_mode);
    let all: &[&str] = &["pull", "push"];
    let full: &[Access] = &[("target", all), ("source", all)];
    let strangers = Tokens::new();
    let good = tokens.token("ci", full);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let less = tokens.token("ci", &[]);
    let refused = [
        tokens.expired("ci", full),
        tokens.token("ci", &[("target", &["push"]), ("source", all)]),
        tokens.token("ci", &[("target", &["pull"]), ("source", all)]),
        tokens.token("ci", &[("source", all)]),
        tokens.token("ci", &[("target/", all), ("source", all)]),
        tokens.token("ci", &[("*", &["*"])]),
        strangers.token("ci", full),
        // The good signature under other claims, and the good claims under none.
        format!("{}.{signature}", less.rsplit_once('.').unwrap().0),
        format!("{signed}."),
        format!("{header}..{signature}"),
        "not a token".to_owned(),
        String::new(),
    ];
    for token in &refused {
        let right = sidecar.client().bearer(&good);
        right.mount("target", &digest, "source").expect(201);
        std::fs::remove_file(registry.store.link("target", &digest)).unwrap();
        let client = sidecar.client().bearer(token);
        let direct = client.at(registry.port).mount("target", &digest, "source");
        direct.expect(401);
        let answer = client.mount("target", &digest, "source");
        assert_eq!(answer.status, 401, "{token}");
        assert!(!registry.store.link("target", &digest).exists(), "{token}");
    }
    assert_eq!(sidecar.mounted(), refused.len() as u64);
}

#[test]
fn a_denied_caller_learns_nothing_of_repository_and_blob() {
    needs!("docker-registry", "openssl");
    let tokens = Tokens::new();
    let (registry, sidecar, digest) = behind_tokens(&tokens, upstream_mode);
    registry.store.plant_link("secret1", &digest, &digest);
    let other = support::digest_of(b"in no repository");
    registry.store.plant_link("secret2", &other, &other);
    let own: Access = ("target", &["pull", "push"]);
    let mut differences = Differences::default();
    for turn in [
        "not mentioned",
        "not mentioned again",
        "without pull",
        "no token",
        "expired",
    ] {
        let mut answers = Vec::new();
        for source in ["secret1", "secret2", "secret3"] {
            let access = [own, (source, &[] as &[&str])];
            let client = match turn {
                "without pull" => sidecar.client().bearer(&tokens.token("ci", &access)),
                "no token" => sidecar.client(),
                "expired" => sidecar.client().bearer(&tokens.expired("old", &[own])),
                _ => sidecar.client().bearer(&tokens.token("ci", &[own])),
            };
            let answer = client
                .header("Host", "registry.test")
                .mount("target", &digest, source);
            let mut seen = essence(&answer);
            seen.body = seen.body.replace(source, "S");
            for (name, value) in &mut seen.headers {
                if name == "Www-Authenticate" {
                    *value = format!("{:?}", challenge(&answer)).replace(source, "S");
                }
            }
            answers.push(seen);
        }
        let wanted = if turn.contains("again") || turn == "without pull" {
            202
        } else {
            401
        };
        differences.compare(turn, &wanted, &answers[0].status);
        differences.compare(turn, &answers[0], &answers[1]);
        differences.compare(turn, &answers[0], &answers[2]);
    }
    differences.none();
    assert_eq!(sidecar.mounted(), 0);
}

#[test]
fn a_caller_with_rights_gets_the_upload_for_what_is_missing() {
    needs!("docker-registry", "htpasswd");
    let (_registry, sidecar, digest) = behind_passwords(upstream_mode);
    let alice = sidecar.client().basic("alice", "right");
    let answer = alice.mount("target", &digest, "not/there").expect(202);
    alice.finish(&answer, BLOB).expect(201);
    assert_eq!(sidecar.mounts("forwarded", "source_missing"), 1);
}

#[test]
fn where_no_access_control_was_said_wrongly_nobody_is_let_in() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = behind_passwords(|_| ());
    let alice = sidecar.client().basic("alice", "right");
    let others = [sidecar.client(), sidecar.client().basic("alice", "wrong")];
    for other in &others {
        other.mount("wrong", &digest, "source").expect(401);
    }
    let first = sidecar.because("access_mismatch");
    assert!(first >= 1, "{:?}", sidecar.all_mounts());
    assert_eq!(sidecar.mounted(), 0);
    for turn in 0..3 {
        let mounted = alice.mount(&format!("right{turn}"), &digest, "source");
        mounted.expect(201);
        for other in &others {
            other.mount("wrong", &digest, "source").expect(401);
            other.mount("right0", &digest, "source").expect(401);
        }
        // Another proof, and her own access seen to work, change nothing for the others.
        sidecar.prove_as(&alice);
        alice.get("/v2/").expect(200);
        others[0].mount("wrong", &digest, "source").expect(401);
    }
    assert!(!registry.store.repository("wrong").exists());
    assert!(sidecar.mounted() <= 3, "{:?}", sidecar.all_mounts());
    assert_eq!(sidecar.mounts("already_linked", "none"), 0);
}

#[test]
fn where_no_access_control_was_said_wrongly_a_token_counts_for_its_bearer_alone() {
    needs!("docker-registry", "openssl");
    let tokens = Tokens::new();
    let (registry, sidecar, digest) = behind_tokens(&tokens, |_| ());
    let all: &[&str] = &["pull", "push"];
    let full = tokens.token("ci", &[("target", all), ("source", all)]);
    let without = tokens.token("ci", &[("target", all), ("source", &[])]);
    for _ in 0..3 {
        let client = sidecar.client().bearer(&full);
        client.mount("target", &digest, "source").expect(201);
        challenge(&client.mount("wrong", &digest, "source"));
        challenge(&sidecar.client().mount("target", &digest, "source"));
        let client = sidecar.client().bearer(&without);
        let refused = client.mount("target", &digest, "source");
        assert_ne!(refused.status, 201);
    }
    assert!(!registry.store.repository("wrong").exists());
    assert!(sidecar.because("access_mismatch") >= 1);
}

/// A registry that is open but for what it keeps for itself, with a sidecar in front of it that
/// takes it for open and has linked already.
fn mostly_open() -> (Played, Sidecar, String) {
    let registry = Played::start(|heard| {
        let is_kept = !heard.is_the_sidecars() && heard.target.starts_with("/v2/secret/");
        is_kept.then(|| Verdict::Answer(refused()))
    });
    let sidecar = registry.sidecar(|_| ());
    let digest = registry.plant("source", BLOB);
    registry.plant("secret/source", BLOB);
    let client = sidecar.client();
    client.mount("before", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    (registry, sidecar, digest)
}

/// Nobody without credentials is linked for, and others by their own credentials alone.
#[track_caller]
fn is_asked_about_everybody(registry: &Played, sidecar: &Sidecar, digest: &str) {
    let asked = registry.heard("PATCH").len();
    let nobody = sidecar.client();
    for (target, source, status) in [
        ("after", "source", 202),
        ("after", "secret/source", 202),
        ("secret/after", "source", 401),
        ("secret/after", "secret/source", 401),
        // Linked already.
        ("before", "source", 202),
    ] {
        let answer = nobody.mount(target, digest, source);
        assert_eq!(answer.status, status, "{target} from {source}");
    }
    assert_eq!(registry.heard("PATCH").len(), asked);
    for target in ["after", "secret/after"] {
        assert!(!registry.store.repository(target).exists(), "{target}");
    }
    assert_eq!(sidecar.mounted(), 1);
    assert_eq!(sidecar.mounts("already_linked", "none"), 0);

    let alice = nobody.basic("alice", "right");
    alice.mount("of-alice", digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 2);
    let probes = registry.heard("PATCH").split_off(asked);
    let shown: Vec<_> = probes
        .iter()
        .map(|probe: &Heard| probe.header("Authorization"))
        .collect();
    assert_eq!(shown, [Some("Basic YWxpY2U6cmlnaHQ=")]);
}

#[test]
fn where_no_access_control_was_said_wrongly_a_forwarded_mount_that_is_refused_shows_it() {
    let (registry, sidecar, digest) = mostly_open();
    let missing = support::digest_of(b"in no repository");
    let answer = sidecar.client().mount("secret/target", &missing, "source");
    answer.expect(401);
    assert_eq!(sidecar.mounts("forwarded", "access_mismatch"), 1);
    is_asked_about_everybody(&registry, &sidecar, &digest);
}

#[test]
fn where_no_access_control_was_said_wrongly_any_request_that_is_refused_shows_it() {
    for method in ["GET", "PUT", "POST"] {
        let (registry, sidecar, digest) = mostly_open();
        let client = sidecar.client();
        let request = client.request(method, "/v2/secret/manifests/latest");
        request.send(client.port).expect(401);
        is_asked_about_everybody(&registry, &sidecar, &digest);
    }
}
