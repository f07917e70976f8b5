//! A registry that is called open and is not: nobody gains anything.

use crate::{needs, support};
use support::access_control::{BLOB, behind_passwords, behind_tokens, challenge};
use support::misbehaving_upstream::{ReceivedRequest, Reply};
use support::scripted_registry::{ScriptedRegistry, refused};
use support::sidecar::Sidecar;
use support::token_issuer::TokenIssuer;

#[test]
fn with_access_mode_none_by_mistake_no_anonymous_caller_mounts() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = behind_passwords(|_| ());
    let alice = sidecar.client().basic("alice", "right");
    let others = [sidecar.client(), sidecar.client().basic("alice", "wrong")];
    for other in &others {
        other.mount("wrong", &digest, "source").expect(401);
    }
    let first = sidecar.mounts_with_reason("access_mismatch");
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
        sidecar.verify_store_as(&alice);
        alice.get("/v2/").expect(200);
        others[0].mount("wrong", &digest, "source").expect(401);
    }
    assert!(!registry.store.repository("wrong").exists());
    assert!(sidecar.mounted() <= 3, "{:?}", sidecar.all_mounts());
    assert_eq!(sidecar.mounts("already_linked", "none"), 0);
}

#[test]
fn with_access_mode_none_by_mistake_a_token_counts_for_its_bearer_alone() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
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
    assert!(sidecar.mounts_with_reason("access_mismatch") >= 1);
}

/// A registry that is open but for what it keeps for itself, with a sidecar in front of it that
/// takes it for open and has linked already.
fn mostly_open() -> (ScriptedRegistry, Sidecar, String) {
    let registry = ScriptedRegistry::start(|heard| {
        let is_kept = !heard.is_the_sidecars() && heard.target.starts_with("/v2/secret/");
        is_kept.then(|| Reply::Answer(refused()))
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
fn every_caller_is_checked_with_the_registry(
    registry: &ScriptedRegistry,
    sidecar: &Sidecar,
    digest: &str,
) {
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
        .map(|probe: &ReceivedRequest| probe.header("Authorization"))
        .collect();
    assert_eq!(shown, [Some("Basic YWxpY2U6cmlnaHQ=")]);
}

#[test]
fn with_access_mode_none_by_mistake_a_refused_forwarded_mount_reveals_it() {
    let (registry, sidecar, digest) = mostly_open();
    let missing = support::digest_of(b"in no repository");
    let answer = sidecar.client().mount("secret/target", &missing, "source");
    answer.expect(401);
    assert_eq!(sidecar.mounts("forwarded", "access_mismatch"), 1);
    every_caller_is_checked_with_the_registry(&registry, &sidecar, &digest);
}

#[test]
fn with_access_mode_none_by_mistake_any_refused_request_reveals_it() {
    for method in ["GET", "PUT", "POST"] {
        let (registry, sidecar, digest) = mostly_open();
        let client = sidecar.client();
        let request = client.request(method, "/v2/secret/manifests/latest");
        request.send(client.port).expect(401);
        every_caller_is_checked_with_the_registry(&registry, &sidecar, &digest);
    }
}
