//! Whoever may pull none of the holders sees and causes the same, whether there are any or not.

use crate::{needs, support};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime};
use support::digest_of;
use support::raw_http::Answer;
use support::registry::Registry;
use support::registry_client::{Client, encoded, mount_target};
use support::sidecar::Sidecar;
use support::strace::{StracedSidecar, SystemCall, lines_below};
use support::token_issuer::TokenIssuer;

const HELD: &[u8] = b"held by repositories that the caller may not pull";
const ABSENT: &[u8] = b"held by nobody";

/// A registry in which two repositories hold a layer, and a caller who may use neither.
struct Case {
    tokens: TokenIssuer,
    registry: Registry,
}

impl Case {
    fn new() -> Self {
        let tokens = TokenIssuer::new();
        let registry = tokens.registry_with_log();
        let all: &[&str] = &["pull", "push"];
        let owner = tokens.token("owner", &[("secret/one", all), ("target/two", all)]);
        let owner = registry.client().bearer(&owner);
        owner.upload("secret/one", HELD);
        owner.upload("target/two", HELD);
        Self { tokens, registry }
    }

    fn configure(&self, mode: &str, config: &mut Value) {
        self.tokens.verify_in(mode, config);
        config["discovery"] = json!({
            "enabled": true, "on_head": true, "sources": "any", "shared_sources": ["base/*"],
            // A search that runs out of time looks at fewer repositories.
            "search_time": "30s",
        });
    }

    /// Ready to link: the store is proved, the holders are known, and the walk is over.
    fn ready(&self, sidecar: &Sidecar) {
        let all: &[&str] = &["pull", "push"];
        let owner = self.tokens.token(
            "owner",
            &[
                ("proof/of-store", all),
                ("secret/one", all),
                ("target/two", all),
            ],
        );
        let owner = sidecar.client().bearer(&owner);
        sidecar.verify_store_as(&owner);
        let held = digest_of(HELD);
        owner.head_blob("secret/one", &held).expect(200);
        owner.head_blob("target/two", &held).expect(200);
        sidecar.wait_for_scan();
    }

    /// Somebody who may push to a repository beside one of the holders.
    fn caller(&self, sidecar: &Sidecar) -> Client {
        let all: &[&str] = &["pull", "push"];
        let token = self.tokens.token("ci", &[("target/app", all)]);
        sidecar.client().bearer(&token)
    }
}

/// Everything that asks for a layer, the client's way first.
fn questions(digest: &str) -> [(&'static str, String); 4] {
    [
        ("HEAD", format!("/v2/target/app/blobs/{digest}")),
        (
            "POST",
            format!("/v2/target/app/blobs/uploads/?mount={}", encoded(digest)),
        ),
        ("POST", mount_target("target/app", digest, "secret/one")),
        ("POST", mount_target("target/app", digest, "target/app")),
    ]
}

/// What a client sees, but for the upload's own name and the time.
fn seen(answer: &Answer, digest: &str) -> String {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !["Date", "Docker-Upload-Uuid", "Location"].contains(&&**name));
    // The registry lists scopes, and the actions of each, in any order.
    let challenge = answer.header("Www-Authenticate").map(|text| {
        let mut words: Vec<_> = text.split([' ', ',', ':', '"']).collect();
        words.sort_unstable();
        words.join(" ")
    });
    headers.retain(|(name, _)| name != "Www-Authenticate");
    let text = format!(
        "{} {headers:?} {challenge:?} {}",
        answer.status,
        answer.text()
    );
    text.replace(digest, "D").replace(&encoded(digest), "D")
}

fn ask(client: &Client, digest: &str) -> Vec<String> {
    questions(digest)
        .iter()
        .map(|(method, target)| seen(&client.request(method, target).send(client.port), digest))
        .collect()
}

/// What reached the registry since its log was `before` bytes long.
fn asked(registry: &Registry, before: usize, digest: &str) -> Vec<String> {
    let all = registry.requests_since(before, Duration::from_millis(500), |all| all.len() >= 4);
    let own = |line: &String| line.replace(digest, "D").replace(&encoded(digest), "D");
    all.iter().map(own).collect()
}

#[test]
fn answers_and_questions_to_the_registry_are_the_same() {
    needs!("docker-registry", "openssl");
    let case = Case::new();
    for mode in ["token", "upstream"] {
        let faces = [HELD, ABSENT].map(|bytes| {
            // Each with a sidecar of its own: what one has asked before is no matter here.
            let sidecar = Sidecar::with(&case.registry, |config| case.configure(mode, config));
            case.ready(&sidecar);
            let (client, digest) = (case.caller(&sidecar), digest_of(bytes));
            let before = case.registry.log().len();
            let answers = ask(&client, &digest);
            let asked = asked(&case.registry, before, &digest);
            assert_eq!(sidecar.mounted(), 0);
            (answers, asked)
        });
        assert_eq!(faces[0], faces[1], "{mode}");
        assert!(
            faces[0].0[0].starts_with("404 "),
            "{mode}: {:?}",
            faces[0].0
        );
        assert!(
            !case
                .registry
                .store
                .link("target/app", &digest_of(HELD))
                .exists()
        );
    }
}

#[test]
fn no_call_on_the_store_is_made_for_who_may_not() {
    needs!("docker-registry", "openssl", "strace");
    let case = Case::new();
    let root = case.registry.store.root.canonicalize().unwrap();
    for mode in ["token", "upstream"] {
        let traced = StracedSidecar::start(&case.registry, |config| {
            case.configure(mode, config);
            config["discovery"]["shared_sources"] = json!([]);
        });
        case.ready(&traced.sidecar);
        let client = case.caller(&traced.sidecar);
        for bytes in [HELD, ABSENT] {
            let digest = digest_of(bytes);
            let before = traced.calls().len();
            // The mount that names a repository of the caller's own looks there, and only there.
            for (method, target) in &questions(&digest)[..3] {
                client.request(method, target).send(client.port);
            }
            let calls = traced.calls();
            assert_eq!(lines_below(&root, &calls[before..]), [""; 0], "{mode}");
        }
        assert_eq!(traced.sidecar.mounted(), 0);
    }
}

/// The calls below `root`, without what differs from digest to digest.
fn alike(root: &Path, calls: &[SystemCall], digest: &str) -> Vec<String> {
    let (_, hex) = digest.split_once(':').unwrap();
    let is_below = |call: &&SystemCall| call.paths.iter().any(|path| path.starts_with(root));
    let calls = calls.iter().filter(is_below).map(|call| {
        let paths: Vec<_> = call.paths.iter().map(|path| path.display()).collect();
        format!("{} {paths:?}", call.name)
            .replace(&format!("/{}/{hex}", &hex[..2]), "/D")
            .replace(hex, "D")
    });
    calls.collect()
}

#[test]
fn the_same_repositories_are_looked_at_whether_others_hold_the_layer_or_not() {
    needs!("docker-registry", "openssl", "strace");
    let case = Case::new();
    let all: &[&str] = &["pull", "push"];
    let names = ["base/one", "base/two", "far/mine", "target/mine"];
    let access: Vec<_> = names.iter().map(|name| (*name, all)).collect();
    let owner = case.tokens.token("owner", &access);
    let owner = case.registry.client().bearer(&owner);
    for name in names {
        owner.upload(name, b"another layer");
    }
    // So that nothing changed lately, and the lists are kept.
    let root = case.registry.store.root.canonicalize().unwrap();
    for name in ["", "base", "target"] {
        let path = root.join("docker/registry/v2/repositories").join(name);
        let past = SystemTime::now() - Duration::from_secs(60);
        let directory = std::fs::File::open(path).unwrap();
        directory.set_modified(past).unwrap();
    }
    for mode in ["token", "upstream"] {
        let traced = StracedSidecar::start(&case.registry, |config| case.configure(mode, config));
        case.ready(&traced.sidecar);
        let access = [
            ("target/app", all),
            ("target/mine", all),
            ("far/mine", &["pull"]),
        ];
        let token = case.tokens.token("ci", &access);
        let client = traced.sidecar.client().bearer(&token);
        // Access to the target is decided, and the lists are read.
        client
            .head_blob("target/app", &digest_of(b"first"))
            .expect(404);
        let looked_at = [HELD, ABSENT].map(|bytes| {
            let digest = digest_of(bytes);
            let before = traced.calls().len();
            for (method, target) in &questions(&digest)[..3] {
                client.request(method, target).send(client.port);
            }
            alike(&root, &traced.calls()[before..], &digest)
        });
        assert_eq!(looked_at[0], looked_at[1], "{mode}");
        for name in names {
            let link = format!("{name}/_layers/sha256/D/link");
            let is_looked_at = |call: &&String| call.contains(&link);
            assert_eq!(
                looked_at[0].iter().filter(is_looked_at).count(),
                3,
                "{link}"
            );
        }
        let secret = |call: &String| call.contains("secret") || call.contains("target/two");
        assert!(!looked_at[0].iter().any(secret), "{looked_at:#?}");
        assert_eq!(traced.sidecar.mounted(), 0);
    }
}
