//! Who may mount by a bearer token: asked of the registry that verifies it.

use crate::{needs, support};
use std::collections::BTreeSet;
use support::access_control::{
    BLOB, Challenge, behind_tokens, challenge, challenging, upstream_mode,
};
use support::raw_http::Answer;
use support::registry_client::Client;
use support::token_issuer::{Access, REALM, SERVICE, TokenIssuer};
use support::version::version;

fn actions(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|action| (*action).to_owned()).collect()
}

#[test]
fn a_token_with_all_rights_mounts() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
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
    let tokens = TokenIssuer::new();
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
    let tokens = TokenIssuer::new();
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
fn an_unsigned_token_changes_nothing_for_its_subject() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let (_registry, sidecar, digest) = behind_tokens(&tokens, upstream_mode);
    let own: &[Access] = &[("target", &["pull", "push"])];
    let ask = |token: &str| {
        let client = sidecar.client().bearer(token);
        client.mount("target", &digest, "source")
    };
    let token = tokens.token("alice", own);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for (garbage, has_bad_signature) in [
        (TokenIssuer::new().token("alice", own), false),
        (format!("{signed}."), true),
        (format!("{signed}.{}", signature.to_lowercase()), true),
        (tokens.expired("alice", own), false),
    ] {
        let refused = challenge(&ask(&garbage));
        let is_named = !has_bad_signature || version().challenges_bad_signatures_as_invalid();
        assert_eq!(
            refused.rest.contains("error=\"invalid_token"),
            is_named,
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
    let tokens = TokenIssuer::new();
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
    let tokens = TokenIssuer::new();
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
    let tokens = TokenIssuer::new();
    let (registry, sidecar, digest) = behind_tokens(&tokens, upstream_mode);
    let all: &[&str] = &["pull", "push"];
    let full: &[Access] = &[("target", all), ("source", all)];
    let strangers = TokenIssuer::new();
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
