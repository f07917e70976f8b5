//! The parts of a mount's way, each alone: how long a request is looked at, a token verified, a
//! decision and a layer's holders looked up, a link written.
//!
//! Where links are written is below `TMPDIR`, or `/var/tmp`: a real disk.
#![allow(
    missing_docs,
    reason = "criterion's macros write functions without documentation"
)]
#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot be prepared ends by panicking"
)]

use std::fmt::Write as _;
use std::future::Future;
use std::hint::black_box;
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use crossmount::bench_api::{
    self, BlobRef, CallerRights, Digest, Discovery, Entry, Filesystem, Fingerprints, LinkResult,
    PullScope, RepositoryName, SharedSources, TtlCache, Verifier,
};
use crossmount::config::{self, Durability};
use http::request::Parts;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).expect("a repository's name")
}

fn digest(number: u64) -> Digest {
    // Bits as a hash has them: spread over all places.
    let mut text = "sha256:".to_owned();
    for part in 1..=4 {
        let bits = (number + part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        write!(text, "{bits:016x}").expect("a string takes everything");
    }
    Digest::parse(&text).expect("a digest")
}

/// The value of something that has no need to wait.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a look into memory waited"),
    }
}

/// What docker and its like send.
fn head(method: &str, target: &str) -> Parts {
    let request = http::Request::builder()
        .method(method)
        .uri(target)
        .header("Host", "registry.example")
        .header("User-Agent", "docker/27.3.1 go/go1.22.7")
        .header("Authorization", "Bearer token")
        .header("Content-Length", "0")
        .header("Accept-Encoding", "gzip");
    let (head, ()) = request.body(()).expect("a request").into_parts();
    head
}

fn classify(criterion: &mut Criterion) {
    let mount = format!("/v2/a/b/blobs/uploads/?mount={}&from=c/d", digest(1));
    for (what, method, target, is_mount) in [
        ("a mount", "POST", &*mount, true),
        ("a manifest", "GET", "/v2/a/b/manifests/latest", false),
    ] {
        let head = head(method, target);
        let look = || bench_api::is_mount("/", black_box(target.as_bytes()), &head);
        assert_eq!(look(), is_mount, "{target}");
        criterion.bench_function(&format!("classify: {what}"), |bencher| bencher.iter(look));
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A key of 2048 bits, as a JSON Web Key Set, and a token that it signed.
fn signed(claims: &Value) -> (String, String) {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA"])
        .args(["-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .expect("openssl");
    let pem = String::from_utf8(made.stdout).expect("text");
    let lines = pem.lines().filter(|line| !line.starts_with("---"));
    let der = STANDARD.decode(lines.collect::<String>()).expect("a key");
    let key = RsaKeyPair::from_pkcs8(&der).expect("a private key");
    let numbers: ring::rsa::PublicKeyComponents<Vec<u8>> = key.public().into();
    let [n, e] = [numbers.n, numbers.e].map(|number| URL_SAFE_NO_PAD.encode(number));
    let set = json!({"keys": [{"kty": "RSA", "kid": "one", "n": n, "e": e}]});

    let header = json!({"typ": "JWT", "alg": "RS256", "kid": "one"});
    let message = [encoded(&header), encoded(claims)].join(".");
    let mut signature = vec![0; key.public().modulus_len()];
    let random = SystemRandom::new();
    key.sign(
        &RSA_PKCS1_SHA256,
        &random,
        message.as_bytes(),
        &mut signature,
    )
    .expect("a signature");
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    (set.to_string(), token)
}

fn token(criterion: &mut Criterion) {
    let claims = json!({
        "iss": "issuer", "sub": "ci", "aud": "service", "exp": NOW + 60, "nbf": NOW - 60,
        "access": [
            {"type": "repository", "name": "a/b", "actions": ["pull", "push"]},
            {"type": "repository", "name": "c/d", "actions": ["pull"]},
        ],
    });
    let (set, token) = signed(&claims);
    let verifier = Verifier::new("issuer", "service", set.as_bytes()).expect("keys");
    let (target, source) = (name("a/b"), name("c/d"));
    let verify = || verifier.allows(black_box(&token), &target, &source, NOW);
    assert!(verify());
    assert!(!verifier.allows(&token, &source, &target, NOW));
    criterion.bench_function("token: verify RS256", |bencher| bencher.iter(verify));
}

fn decision(criterion: &mut Criterion) {
    let prints = Fingerprints::new().expect("random bytes");
    let memory = TtlCache::new(16 * 1024);
    let header = format!("Bearer {}", "x".repeat(900));
    let question = |target: &str| {
        prints.fingerprint(&[b"decision", header.as_bytes(), target.as_bytes(), b"c/d"])
    };
    let lifetime = Duration::from_secs(3600);
    for number in 0..10_000 {
        let answer = number;
        let kept = Entry { answer, lifetime };
        at_once(memory.insert(question(&format!("t/{number}")), kept));
    }
    let look_up = || at_once(memory.get(&question(black_box("t/5000"))));
    assert_eq!(look_up(), Some(5000));
    criterion.bench_function("decision: look up among 10,000", |bencher| {
        bencher.iter(look_up);
    });
}

fn index(criterion: &mut Criterion) {
    let discovery = Discovery::new(config::DiscoveryConfig {
        scan_interval: config::DiscoveryConfig::default().scan_interval,
        deleted_for: config::DiscoveryConfig::default().deleted_for,
        on_head: true,
        new_repositories: true,
        sources: config::Sources::Any,
        ..config::DiscoveryConfig::default()
    });
    for number in 0..100_000 {
        discovery.record_link(
            &name(&format!("team-{}/image", number % 1000)),
            &digest(number),
        );
    }
    let wanted = BlobRef {
        repository: name("team-1/other"),
        digest: digest(4321),
    };
    let rights = CallerRights {
        pullable: &PullScope::Everything,
        shared: SharedSources::IsEnough,
    };
    let look_up = || discovery.find_candidates(black_box(&wanted), rights);
    assert_eq!(look_up(), [name("team-321/image")]);
    criterion.bench_function("index: look up among 100,000", |bencher| {
        bencher.iter(look_up);
    });
}

fn link(criterion: &mut Criterion) {
    let base = std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into());
    for (durability, what) in [
        (Durability::None, "none"),
        (Durability::File, "file"),
        (Durability::Full, "full"),
    ] {
        let folder = tempfile::tempdir_in(&base).expect("a folder");
        let digest = digest(1);
        write_blob(folder.path(), &digest);
        let store = Filesystem::new(folder.path(), durability);
        let mut number = 0_u64;
        let mut next = || {
            number += 1;
            name(&format!("t/{number}"))
        };
        let write = |target: RepositoryName| {
            let linked = store.on_open(|store| bench_api::link(store, &target, &digest));
            assert_eq!(linked.expect("a link"), Some(LinkResult::Written));
        };
        criterion.bench_function(
            &format!("link: into a new repository, durability {what}"),
            |bencher| bencher.iter_batched(&mut next, write, BatchSize::PerIteration),
        );
    }
}

fn write_blob(root: &Path, digest: &Digest) {
    let store = root.join("docker/registry/v2");
    let (_, hex) = digest.as_str().split_once(':').expect("a digest");
    let blob = store.join("blobs/sha256").join(&hex[..2]).join(hex);
    for folder in [&blob, &store.join("repositories")] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    std::fs::write(blob.join("data"), "layer").expect("a blob");
}

criterion_group!(parts, classify, token, decision, index, link);
criterion_main!(parts);
