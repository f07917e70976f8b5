//! Who may not, stays out, and learns nothing.

use crate::support;
use serde_json::json;
use support::image::Image;
use support::pulp::{self, ADMIN, Pulp, fresh, settled};
use support::registry_client::mount_target;
use support::sidecar::Sidecar;

/// Somebody with push on a repository of their own, and a source that they may not pull.
struct Case {
    pulp: &'static Pulp,
    sidecar: Sidecar,
    source: String,
    image: Image,
    user: String,
    target: String,
}

fn case() -> Option<Case> {
    let pulp = pulp::start()?;
    let source = format!("{}/secret", fresh("team"));
    let image = Image::of(&[&fresh("secret")], 2000);
    image.push(&pulp.pushing(pulp.port, ADMIN, &source), &source, "v1");
    pulp.hide(&source);
    let user = pulp.user();
    let media = pulp.media.clone();
    Some(Case {
        pulp,
        sidecar: pulp.sidecar(|config| {
            config["store"] = json!({"artifacts": {"rootdirectory": media}});
            config["token_endpoint"] = json!({"cache": {"enabled": true}});
        }),
        source,
        image,
        target: format!("{user}/app"),
        user,
    })
}

#[test]
fn push_on_the_target_without_pull_on_the_source_never_mounts() {
    let Some(case) = case() else { return };
    let (target, source) = (&case.target, &case.source);
    let digest = &case.image.layers[0].digest;
    let port = case.sidecar.port;
    let tokens = [
        case.pulp.mounting(port, &case.user, target, source),
        case.pulp.pushing(port, &case.user, target),
    ];
    for client in &tokens {
        let direct = client.at(port).mount(target, digest, source);
        assert_eq!(direct.status, 401, "{}", direct.text());
        for query in [
            format!("mount={digest}&from={source}&origin=h"),
            format!("mount={digest}&from={source}&ns=h"),
            format!("mount={digest}"),
            format!("mount={digest}&from={source}&from={target}"),
            format!("mount={digest}&from={target}&from={source}"),
        ] {
            let path = format!("/v2/{target}/blobs/uploads/?{query}");
            let answer = client.request("POST", &path).send(port);
            assert_ne!(answer.status, 201, "{query}");
        }
        client.head_blob(target, digest).expect(404);
    }
    assert_eq!(case.sidecar.mounted(), 0);
    assert_eq!(case.sidecar.mounts("native", "none"), 0);
    assert_eq!(case.sidecar.mounts("relayed", "none"), 0);
    assert!(case.sidecar.mounts("forwarded", "denied") >= 2);
}

#[test]
fn a_refusal_is_pulps_own_and_nothing_is_asked_twice() {
    let Some(case) = case() else { return };
    let (target, source) = (&case.target, &case.source);
    let port = case.sidecar.port;
    let client = case.pulp.mounting(port, &case.user, target, source);
    let absent = support::digest_of(b"absent");
    let nowhere = format!("{}/nowhere", fresh("team"));
    let mut shown = Vec::new();
    for (source, digest) in [
        (source, &case.image.layers[0].digest),
        (source, &absent),
        (&nowhere, &absent),
    ] {
        let refused = client.mount(target, digest, source).expect(401);
        let challenge = refused.header("WWW-Authenticate").unwrap();
        for scope in [
            format!("scope=\"repository:{target}:push\""),
            format!("scope=\"repository:{source}:pull\""),
        ] {
            assert!(challenge.contains(&scope), "{challenge}");
        }
        shown.push(refused.text());
        let path = mount_target(target, digest, source);
        let asked = || case.pulp.answered(&path).len();
        settled(asked, 1);
    }
    shown.dedup();
    assert_eq!(shown.len(), 1, "{shown:?}");
    // No question about the blob, and no upload in the mount's place.
    let heads = format!("HEAD /v2/{source}/blobs/");
    assert_eq!(case.pulp.answered(&heads).len(), 0);
    let uploads = format!("POST /v2/{target}/blobs/uploads/");
    assert_eq!(case.pulp.answered(&uploads).len(), 3);
}

#[test]
fn a_mount_without_credentials_gets_pulps_challenge() {
    let Some(case) = case() else { return };
    let digest = &case.image.layers[0].digest;
    let refused = case
        .sidecar
        .client()
        .mount(&case.target, digest, &case.source);
    let challenge = refused.expect(401);
    let challenge = challenge.header("WWW-Authenticate").unwrap();
    assert!(challenge.contains("/token/"), "{challenge}");
    assert!(challenge.contains(&format!("repository:{}:pull", case.source)));
}

#[test]
fn a_token_that_was_taken_with_one_login_is_never_given_to_another() {
    let Some(case) = case() else { return };
    let scope = format!("repository:{}:pull", case.source);
    let path = Pulp::token_target(case.sidecar.port, &[&scope]);
    let client = case.sidecar.client();
    let owner = client.clone().basic(ADMIN, case.pulp.password());
    let owners = owner.get(&path).expect(200).text();
    let other = client.clone().basic(&case.user, &case.user);
    let others = other.get(&path).expect(200).text();
    assert_ne!(owners, others);
    assert_eq!(owner.get(&path).expect(200).text(), owners);
    client.clone().basic(ADMIN, "wrong").get(&path).expect(401);
    assert_ne!(client.get(&path).text(), owners);
}
