//! A mount that does not happen looks the same whatever the reason.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use support::access_control::{BLOB, behind_passwords, upstream_mode};
use support::compare::Differences;
use support::digest_of;
use support::registry::Registry;
use support::registry_client::{Client, encoded, mount_target};
use support::sidecar::Sidecar;
use support::store::Store;
use support::strace::{StracedSidecar, lines_below};
use support::token_issuer::{Access, TokenIssuer};

/// Every byte of the answer, but for the upload's identifier, its state and the date.
#[track_caller]
fn normalised(client: &Client, target: &str) -> String {
    let request = client.clone().header("Host", "registry.test");
    let request = request.request("POST", target).bytes(client.port);
    let mut connection = client.connect();
    connection.write(&request).unwrap();
    let raw = connection.raw_answer().unwrap();
    let mut text = String::from_utf8(raw).unwrap();
    for (before, end) in [
        ("\r\nDocker-Upload-Uuid: ", '\r'),
        ("_state=", '\r'),
        ("\r\nDate: ", '\r'),
    ] {
        let Some((_, rest)) = text.split_once(before) else {
            continue;
        };
        let own = rest.split(end).next().unwrap().to_owned();
        text = text.replace(&own, "…");
    }
    text
}

#[track_caller]
fn mount(client: &Client, digest: &str, source: &str) -> String {
    normalised(client, &mount_target("target", digest, source))
}

fn plant_data(store: &Store, bytes: &[u8], content: &[u8]) -> String {
    let digest = digest_of(bytes);
    let data = store.data(&digest);
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    fs::write(data, content).unwrap();
    digest
}

/// Sources and digests of mounts that cannot be made, each for a reason of its own.
fn impossible(store: &Store, whole: &str) -> Vec<(&'static str, &'static str, String)> {
    let whole = whole.to_owned();
    let absent = digest_of(b"linked without data");
    store.plant_link("absent", &absent, &absent);
    let empty = plant_data(store, b"linked to an empty file", b"");
    store.plant_link("empty-data", &empty, &empty);
    store.plant_link("empty-link", &whole, "");
    store.plant_link("other", &whole, &digest_of(b"another"));
    store.plant_link("newline", &whole, &format!("{whole}\n"));
    fs::create_dir_all(store.link("folder", &whole)).unwrap();
    let unlinked = plant_data(store, b"linked nowhere", b"linked nowhere");
    vec![
        ("no such repository", "no/such", whole.clone()),
        ("no link", "source", unlinked),
        ("no data", "absent", absent),
        ("empty data", "empty-data", empty),
        ("an empty link", "empty-link", whole.clone()),
        ("another digest in the link", "other", whole.clone()),
        ("a newline in the link", "newline", whole.clone()),
        ("a folder for a link", "folder", whole.clone()),
        ("nothing below a repository", "source/below", whole.clone()),
        ("nothing anywhere", "no/such", digest_of(b"unheard of")),
    ]
}

#[test]
fn a_caller_with_rights_cannot_tell_why_there_is_nothing_to_mount() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = behind_passwords(upstream_mode);
    let cases = impossible(&registry.store, &digest);
    let alice = sidecar.client().basic("alice", "right");
    let upload = normalised(&alice, "/v2/target/blobs/uploads/");
    assert!(upload.starts_with("HTTP/1.1 202 "), "{upload}");
    let mut differences = Differences::default();
    for (why, source, digest) in &cases {
        let answer = mount(&alice, digest, source);
        differences.compare(why, &upload, &answer);
        assert!(!registry.store.link("target", digest).exists(), "{why}");
    }
    differences.assert_none();
    assert_eq!(sidecar.mounts_with_reason("source_missing"), 7);
    assert_eq!(sidecar.mounts_with_reason("blob_missing"), 2);
    assert_eq!(sidecar.mounts_with_reason("store_error"), 1);
    assert!(mount(&alice, &digest, "source").starts_with("HTTP/1.1 201 "));
}

/// A token registry in which `secret/one` links the blob.
fn guarded(tokens: &TokenIssuer) -> (Registry, String) {
    let registry = tokens.registry_with_log();
    let all: &[&str] = &["pull", "push"];
    let names = ["secret/one", "secret/two", "elsewhere"];
    let token = tokens.token("the owner", &names.map(|name| (name, all)));
    let owner = registry.client().bearer(&token);
    let digest = owner.upload("secret/one", BLOB);
    owner.upload("secret/two", b"another blob");
    owner.upload("elsewhere", b"a third blob");
    (registry, digest)
}

/// What a caller asks who may not pull the source.
fn denied(digest: &str) -> [(&'static str, &'static str, String); 5] {
    [
        ("linked there", "secret/one", digest.to_owned()),
        ("not linked there", "secret/two", digest.to_owned()),
        ("no such source", "secret/six", digest.to_owned()),
        ("only elsewhere", "secret/six", digest_of(b"a third blob")),
        ("nowhere at all", "secret/six", digest_of(b"unheard of")),
    ]
}

fn verify_store(tokens: &TokenIssuer, sidecar: &Sidecar) {
    let token = tokens.token("the owner", &[("proof/of-store", &["pull", "push"])]);
    sidecar.verify_store_as(&sidecar.client().bearer(&token));
}

fn without_pull(tokens: &TokenIssuer, sidecar: &Sidecar, source: &str) -> Client {
    let access: &[Access] = &[("target", &["pull", "push"]), (source, &[])];
    sidecar.client().bearer(&tokens.token("ci", access))
}

#[test]
fn a_denied_caller_cannot_tell_what_there_is() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let (registry, digest) = guarded(&tokens);
    let sidecar = Sidecar::with(&registry, upstream_mode);
    verify_store(&tokens, &sidecar);
    let upload = normalised(
        &without_pull(&tokens, &sidecar, "any"),
        "/v2/target/blobs/uploads/",
    );
    assert!(upload.starts_with("HTTP/1.1 202 "), "{upload}");
    let mut differences = Differences::default();
    for (why, source, digest) in denied(&digest) {
        let client = without_pull(&tokens, &sidecar, source);
        for _ in 0..2 {
            differences.compare(why, &upload, &mount(&client, &digest, source));
        }
    }
    differences.assert_none();
    assert_eq!(sidecar.mounts("forwarded", "denied"), 10);
}

#[test]
fn a_denied_caller_causes_no_call_below_the_root() {
    needs!("docker-registry", "openssl", "strace");
    let tokens = TokenIssuer::new();
    let (registry, digest) = guarded(&tokens);
    let root = registry.store.root.canonicalize().unwrap();
    let traced = StracedSidecar::start(&registry, upstream_mode);
    verify_store(&tokens, &traced.sidecar);
    let before = traced.calls().len();
    for (_, source, digest) in denied(&digest) {
        let client = without_pull(&tokens, &traced.sidecar, source);
        client.mount("target", &digest, source).expect(202);
    }
    let asked = traced.calls();
    assert_eq!(lines_below(&root, &asked[before..]), [""; 0]);
    assert_eq!(traced.sidecar.mounts("forwarded", "denied"), 5);

    let access: &[Access] = &[("target", &["pull", "push"]), ("secret/one", &["pull"])];
    let allowed = traced.sidecar.client().bearer(&tokens.token("ci", access));
    allowed.mount("target", &digest, "secret/one").expect(201);
    let calls = traced.calls();
    let caused = lines_below(&root, &calls[asked.len()..]);
    assert!(
        caused.iter().any(|line| line.contains("secret/one")),
        "{caused:#?}"
    );
}

/// Method, path and status of what reached the registry since its log was `before` bytes long.
fn requests(registry: &Registry, before: usize, source: &str) -> Vec<String> {
    let is_there = |seen: &[String]| seen.iter().any(|line| line.starts_with("POST "));
    registry
        .requests_since(before, Duration::from_millis(300), is_there)
        .iter()
        .map(|line| line.replace(&encoded(source), "S").replace(source, "S"))
        .collect()
}

#[test]
fn the_registry_is_asked_the_same_for_a_denied_caller_whatever_there_is() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let (registry, digest) = guarded(&tokens);
    for setting in ["fallback", "challenge"] {
        let sidecar = Sidecar::with(&registry, |config: &mut Value| {
            upstream_mode(config);
            config["mount"]["source_denied"] = json!(setting);
        });
        verify_store(&tokens, &sidecar);
        let asked = denied(&digest).map(|(_, source, digest)| {
            let client = without_pull(&tokens, &sidecar, source);
            let before = registry.log().len();
            mount(&client, &digest, source);
            let asked = requests(&registry, before, source);
            asked
                .iter()
                .map(|line| line.replace(&encoded(&digest), "D"))
                .collect::<Vec<_>>()
        });
        for other in &asked[1..] {
            assert_eq!(&asked[0], other, "{setting}");
        }
        let methods: Vec<_> = asked[0]
            .iter()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(methods, ["PATCH", "POST"], "{:?}", asked[0]);
    }
}
