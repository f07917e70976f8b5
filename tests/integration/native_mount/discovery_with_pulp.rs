//! Layers that the client does not know of, mounted by Pulp itself.

use crate::support;
use serde_json::{Value, json};
use support::image::Image;
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, answer};
use support::pulp::{self, ADMIN, Pulp, fresh, settled};
use support::registry_client::{Client, encoded};
use support::sidecar::Sidecar;

/// A base image that was pushed through a sidecar, which may suggest it.
struct Case {
    pulp: &'static Pulp,
    sidecar: Sidecar,
    base: String,
    image: Image,
}

fn case(change: impl FnOnce(&mut Value)) -> Option<Case> {
    let pulp = pulp::start()?;
    let team = fresh("team");
    let sidecar = pulp.sidecar(|config| {
        config["discovery"] = json!({
            "enabled": true, "on_head": true, "widen_scopes": true,
            "shared_sources": [format!("{team}/*")],
        });
        change(config);
    });
    let base = format!("{team}/base");
    let image = Image::of(&[&fresh("a"), &fresh("b")], 2000);
    image.push(&pulp.pushing(sidecar.port, ADMIN, &base), &base, "v1");
    Some(Case {
        pulp,
        sidecar,
        base,
        image,
    })
}

impl Case {
    /// What the token endpoint says through the sidecar to a user who wants to push.
    fn token(&self, user: &str, target: &str) -> Value {
        let scope = format!("repository:{target}:pull,push");
        let path = Pulp::token_target(self.sidecar.port, &[&scope]);
        let login = self.sidecar.client().basic(user, user);
        serde_json::from_slice(&login.get(&path).expect(200).body).unwrap()
    }

    fn pushing(&self, user: &str, target: &str) -> Client {
        let token = self.token(user, target);
        self.sidecar
            .client()
            .bearer(token["token"].as_str().unwrap())
    }
}

/// What a token grants, by repository.
fn access(token: &Value) -> Vec<(String, Vec<String>)> {
    let claims = token["token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&from_base64(claims)).unwrap();
    let entries = claims["access"].as_array().unwrap();
    let list = |entry: &Value| {
        let mut actions: Vec<String> = serde_json::from_value(entry["actions"].clone()).unwrap();
        actions.sort();
        (entry["name"].as_str().unwrap().to_owned(), actions)
    };
    entries.iter().map(list).collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    const SET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = |letter: u8| SET.iter().position(|known| *known == letter).unwrap();
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_usize, 0);
    for letter in text.bytes() {
        bits = bits << 6 | value(letter);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes
}

#[test]
fn a_fresh_runner_sends_no_layer_that_a_shared_repository_holds() {
    let Some(case) = case(|_| ()) else { return };
    let user = case.pulp.user();
    let target = format!("{user}/app");
    let client = case.pushing(&user, &target);
    for layer in &case.image.layers {
        client.head_blob(&target, &layer.digest).expect(302);
        assert_eq!(case.pulp.pull(&client, &target, &layer.digest), layer.bytes);
    }
    assert_eq!(case.sidecar.mounts("native", "none"), 2);
    let uploads = format!("\"PUT /v2/{target}/blobs/");
    assert_eq!(case.pulp.answered(&uploads).len(), 0);
    let absent = support::digest_of(fresh("absent").as_bytes());
    client.head_blob(&target, &absent).expect(404);
}

#[test]
fn a_scope_that_is_denied_fails_no_token_and_empties_none() {
    let Some(case) = case(|_| ()) else { return };
    let secret = case.base.replace("base", "secret");
    case.image.push(
        &case.pulp.pushing(case.sidecar.port, ADMIN, &secret),
        &secret,
        "v1",
    );
    case.pulp.hide(&secret);
    let user = case.pulp.user();
    let target = format!("{user}/app");
    let mut granted = access(&case.token(&user, &target));
    granted.sort();
    let list = |name: &str, actions: &[&str]| {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        (name.to_owned(), actions)
    };
    let mut expected = vec![
        list(&target, &["pull", "push"]),
        list(&case.base, &["pull"]),
        list(&secret, &[]),
    ];
    expected.sort();
    assert_eq!(granted, expected);
    // A push with it goes on as with any other.
    let client = case.pushing(&user, &target);
    let image = Image::of(&[&fresh("own")], 2000);
    image.push(&client, &target, "v1");
}

#[test]
fn a_token_names_no_repository_that_its_owner_could_not_know_of() {
    let Some(case) = case(|config| config["discovery"]["sources"] = json!("any")) else {
        return;
    };
    let user = case.pulp.user();
    let (own, secret) = (format!("{user}/own"), format!("{user}/secret"));
    case.image.push(&case.pushing(&user, &own), &own, "v1");
    let admin = case.pulp.pushing(case.sidecar.port, ADMIN, &secret);
    case.image.push(&admin, &secret, "v1");
    case.pulp.hide(&secret);
    let app = format!("{user}/app");
    let named = |token: &Value| {
        let mut names: Vec<_> = access(token).into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    };
    let mut expected = vec![app.clone(), own, case.base.clone()];
    expected.sort();
    assert_eq!(named(&case.token(&user, &app)), expected);
    let other = case.pulp.user();
    let app = format!("{other}/app");
    let mut expected = vec![app.clone(), case.base.clone()];
    expected.sort();
    assert_eq!(named(&case.token(&other, &app)), expected);
}

#[test]
fn no_claim_of_a_token_counts_before_the_registry_accepted_it() {
    let Some(case) = case(|config| config["discovery"]["sources"] = json!("any")) else {
        return;
    };
    let user = case.pulp.user();
    let digest = &case.image.layers[0].digest;
    let there = format!("{user}/there");
    let own = Image::of(&[&fresh("own")], 2000);
    own.push(&case.pushing(&user, &there), &there, "v1");
    let absent = support::digest_of(fresh("absent").as_bytes());
    for target in [there, format!("{user}/new")] {
        // It names the holder, and somebody else has signed it.
        let token = case.token(&user, &target);
        let token = token["token"].as_str().unwrap();
        let (signed, _) = token.rsplit_once('.').unwrap();
        let forged = case
            .sidecar
            .client()
            .bearer(&format!("{signed}.{}", "A".repeat(86)));
        let asked = |digest: &str| {
            let count = |what: &str| case.pulp.answered(what).len();
            let posts = format!("\"POST /v2/{target}/blobs/");
            let heads =
                [&target, &case.base].map(|name| format!("\"HEAD /v2/{name}/blobs/{digest}"));
            let before = (count(&posts), count(&heads[0]), count(&heads[1]));
            forged.head_blob(&target, digest).expect(401);
            let path = format!("/v2/{target}/blobs/uploads/?mount={}", encoded(digest));
            forged.request("POST", &path).send(forged.port).expect(401);
            forged.mount(&target, digest, "nowhere").expect(401);
            settled(|| count(&posts), before.0 + 2);
            (count(&heads[0]) - before.1, count(&heads[1]) - before.2)
        };
        // One of the client's own, and one before a source is looked for.
        assert_eq!(asked(digest), (2, 0));
        assert_eq!(asked(&absent), (2, 0));
    }
    assert_eq!(case.sidecar.mounts("native", "none"), 0);
}

#[test]
fn a_mount_without_from_or_with_a_useless_one_finds_the_layer() {
    let Some(case) = case(|_| ()) else { return };
    let user = case.pulp.user();
    let digest = &case.image.layers[0].digest;
    let target = format!("{user}/one");
    let client = case.pushing(&user, &target);
    let path = format!("/v2/{target}/blobs/uploads/?mount={}", encoded(digest));
    let mounted = client.request("POST", &path).send(client.port).expect(201);
    assert_eq!(mounted.header("Docker-Content-Digest"), Some(&**digest));
    client.head_blob(&target, digest).expect(302);

    let other = format!("{user}/two");
    let nowhere = format!("{user}/nowhere");
    let scopes = [
        format!("repository:{other}:pull,push"),
        format!("repository:{nowhere}:pull"),
        format!("repository:{}:pull", case.base),
    ];
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let client = case.pulp.client(case.sidecar.port, &user, &scopes);
    client.mount(&other, digest, &nowhere).expect(201);
    assert_eq!(case.sidecar.mounts("native", "none"), 2);
}

#[test]
fn a_token_that_does_not_name_a_holder_causes_nothing_whether_there_is_one_or_not() {
    let Some(case) = case(|config| {
        config["discovery"]["widen_scopes"] = json!(false);
        config["discovery"]["sources"] = json!("any");
    }) else {
        return;
    };
    let user = case.pulp.user();
    let target = format!("{user}/app");
    let client = case.pushing(&user, &target);
    let absent = support::digest_of(fresh("absent").as_bytes());
    for digest in [&case.image.layers[0].digest, &absent] {
        client.head_blob(&target, digest).expect(404);
        let heads = format!("\"HEAD /v2/{target}/blobs/{digest}");
        settled(|| case.pulp.answered(&heads).len(), 1);
    }
    let posts = format!("\"POST /v2/{target}/blobs/");
    assert_eq!(case.pulp.answered(&posts).len(), 0);
    assert_eq!(case.sidecar.mounts("native", "none"), 0);
}

#[test]
fn a_mount_that_pulp_makes_teaches_its_source() {
    let Some(case) = case(|config| config["discovery"]["sources"] = json!("any")) else {
        return;
    };
    // Pushed past the sidecar.
    let source = case.base.replace("base", "behind");
    let image = Image::of(&[&fresh("behind")], 2000);
    image.push(
        &case.pulp.pushing(case.pulp.port, ADMIN, &source),
        &source,
        "v1",
    );
    let digest = &image.layers[0].digest;
    let user = case.pulp.user();
    let mounting = |target: &str| {
        case.pulp
            .mounting(case.sidecar.port, &user, target, &source)
    };
    let [one, two] = ["one", "two"].map(|name| format!("{user}/{name}"));
    mounting(&two).head_blob(&two, digest).expect(404);
    mounting(&one).mount(&one, digest, &source).expect(201);
    mounting(&two).head_blob(&two, digest).expect(302);
}

/// What stands in front of a Pulp, and gives answers of its own.
fn in_front_of_pulp(upstream: &MisbehavingUpstream) -> Sidecar {
    Sidecar::from(&json!({
        "listen": {"address": "127.0.0.1:0"},
        "admin": {"address": "127.0.0.1:0"},
        "upstream": {"url": upstream.url(), "kind": "pulp"},
        "discovery": {
            "enabled": true, "on_head": true, "sources": "any", "widen_scopes": true,
            "shared_sources": ["base/*"],
        },
    }))
}

#[test]
fn a_404_of_another_server_does_not_show_that_pulp_accepted_a_token() {
    let upstream = MisbehavingUpstream::start(|heard| {
        Reply::Answer(match &*heard.method {
            "HEAD" if heard.target.starts_with("/v2/src/") => answer("200 OK", ""),
            _ => answer("404 Not Found", ""),
        })
    });
    let sidecar = in_front_of_pulp(&upstream);
    let digest = support::digest_of(b"a layer");
    // {"access":[{"type":"repository","name":"src","actions":["pull"]}]}
    let token = "e30.eyJhY2Nlc3MiOlt7InR5cGUiOiJyZXBvc2l0b3J5IiwibmFtZSI6InNyYyIsImFjdGlvbnMiOlsicHVsbCJdfV19.c2ln";
    let client = sidecar.client().bearer(token);
    client.head_blob("src", &digest).expect(200);
    client.head_blob("dst", &digest).expect(404);
    let path = format!("/v2/dst/blobs/uploads/?mount={}", encoded(&digest));
    client.request("POST", &path).send(client.port).expect(404);
    let all = upstream.all();
    assert!(all.iter().all(|heard| !heard.target.contains("from=")));
    let looks = all.iter().filter(|heard| heard.target.contains("/src/"));
    assert_eq!(looks.count(), 1);
}

#[test]
fn a_token_server_that_refuses_more_scopes_gets_the_clients_own_question() {
    let upstream = MisbehavingUpstream::start(|heard| {
        let scopes = heard.target.matches("scope=").count();
        Reply::Answer(match &*heard.method {
            "PUT" => {
                let digest = heard.target.rsplit('=').next().unwrap();
                let head = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n";
                format!("{head}Docker-Content-Digest: {digest}\r\n\r\n").into()
            }
            _ if scopes > 1 => answer("400 Bad Request", ""),
            _ => answer("200 OK", r#"{"token":"e30.e30.c2ln"}"#),
        })
    });
    let sidecar = in_front_of_pulp(&upstream);
    let login = sidecar.client().basic("alice", "right");
    let digest = support::digest_of(b"a layer");
    let put = format!("/v2/base/os/blobs/uploads/1?digest={digest}");
    login.request("PUT", &put).send(login.port);
    let scope = encoded("repository:team/app:pull,push");
    let question = format!("/token/?service=h&scope={scope}");
    for _ in 0..2 {
        let answer = login.get(&question).expect(200);
        assert_eq!(answer.text(), r#"{"token":"e30.e30.c2ln"}"#);
    }
    let asked = upstream.all();
    let asked = asked
        .iter()
        .filter(|heard| heard.target.starts_with("/token/"));
    let counts: Vec<_> = asked
        .map(|heard| heard.target.matches("scope=").count())
        .collect();
    // Once with more, and then never again for a while.
    assert_eq!(counts, [2, 1, 1]);
}
