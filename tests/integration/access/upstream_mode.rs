//! Who may mount: asked of the registry with the caller's own credentials.

use crate::{needs, support};
use support::access_control::{
    BLOB, behind_passwords, behind_tokens, challenge, challenging, upstream_mode,
};
use support::compare::{Differences, essence};
use support::registry_client::Client;
use support::token_issuer::{Access, TokenIssuer};

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
fn no_caller_profits_from_another_callers_permissions() {
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
        let path = support::registry_client::mount_target(target, &digest, "source");
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
fn a_denied_caller_learns_nothing_of_repository_and_blob() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
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
    differences.assert_none();
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
