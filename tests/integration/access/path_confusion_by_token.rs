//! A name that is spelt oddly opens nothing that a token does not allow.

use crate::{needs, support};
use support::access_control::challenging;
use support::compare::ambiguous_mounts::links;
use support::compare::{Differences, send_raw};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::token_issuer::{Access, TokenIssuer};

const SECRET: &[u8] = b"only secret/source holds this";
const OWN: &[u8] = b"source holds this";

/// The registry with a secret, and what it lets the caller do.
fn guarded(tokens: &TokenIssuer) -> Registry {
    let registry = tokens.registry();
    let all: &[&str] = &["pull", "push"];
    let names = ["secret/source", "source", "t", "proof/of-store"];
    let token = tokens.token("the owner", &names.map(|name| (name, all)));
    let owner = registry.client().bearer(&token);
    owner.upload("secret/source", SECRET);
    owner.upload("source", OWN);
    registry
}

#[test]
fn what_the_registry_would_not_allow_is_not_linked_under_any_spelling() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let (alone, behind) = (guarded(&tokens), guarded(&tokens));
    let sidecar = Sidecar::with(&behind, challenging);
    let owner = tokens.token("the owner", &[("proof/of-store", &["pull", "push"])]);
    sidecar.verify_store_as(&sidecar.client().bearer(&owner));
    let (own, secret) = (support::digest_of(OWN), support::digest_of(SECRET));
    let access: &[Access] = &[("t", &["pull", "push"]), ("source", &["pull"])];
    let token = tokens.token("ci", access);
    let mut differences = Differences::default();
    let mut compare = |target: &str| {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: registry.test:5000\r\n\
             Authorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        );
        let [theirs, ours] = [alone.port, sidecar.port].map(|port| {
            let answer = send_raw(port, request.as_bytes());
            answer.status
        });
        differences.compare(target, &theirs, &ours);
        differences.compare(target, &links(&alone), &links(&behind));
    };
    for path in [
        "/v2/denied",
        "/v2/t/../denied",
        "/v2/t%2f..%2fdenied",
        "/v2/denied/../t",
        "/v2/t%2Fdenied",
        "/v2/%64enied",
        "/v2/t;denied",
        "/v2/t%252fdenied",
        "/v2/t%00",
        "/v2/t\\..\\denied",
        "/v2//t",
        "/v2/t/_layers",
    ] {
        compare(&format!("{path}/blobs/uploads/?mount={own}&from=source"));
    }
    for from in [
        "from=secret/source",
        "from=secret%2Fsource",
        "from=source",
        "from=source&from=secret/source",
        "from=secret/source&from=source",
        "from=secret/source;&from=source",
        "from=source;&from=secret/source",
        "from=source/../secret/source",
        "from=source%2f..%2fsecret%2fsource",
        "%66rom=secret/source&from=source",
        "from=%zz&from=secret/source",
        "from=&from=secret/source",
        "from=source%00&from=secret/source",
        "from=source%26from=secret/source",
        "from=source?from=secret/source",
    ] {
        compare(&format!("/v2/t/blobs/uploads/?mount={secret}&{from}"));
        compare(&format!("/v2/t/blobs/uploads/?{from}&mount={secret}"));
    }
    assert!(!behind.store.link("t", &own).exists());
    compare(&format!("/v2/t/blobs/uploads/?mount={own}&from=source"));
    differences.assert_none();
    assert!(behind.store.link("t", &own).exists());
    assert_eq!(sidecar.mounted(), 1);
    for registry in [&alone, &behind] {
        let held = links(registry);
        let named = held.iter().filter(|link| link.contains(&secret[7..]));
        assert_eq!(named.count(), 1, "{held:?}");
    }
}
