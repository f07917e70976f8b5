//! Layers that Pulp holds and does not mount yet.

use crate::support;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use support::pulp::{self, ADMIN, Pulp, fresh, settled};
use support::push::Client;
use support::sidecar::Sidecar;
use support::{bytes_from, digest_of};

/// Bytes that are pending in a source: uploaded, and in no manifest.
struct Case {
    pulp: &'static Pulp,
    sidecar: Sidecar,
    source: String,
    target: String,
    bytes: Vec<u8>,
    digest: String,
    client: Client,
}

fn case(change: impl FnOnce(&mut Value)) -> Option<Case> {
    let pulp = pulp::start()?;
    let sidecar = pulp.sidecar(|config| {
        config["store"] = json!({"artifacts": {"rootdirectory": pulp.media}});
        change(config);
    });
    let (source, target) = (
        format!("{}/src", fresh("team")),
        format!("{}/app", fresh("team")),
    );
    let bytes = bytes_from(&source, 700_000);
    let digest = pulp
        .pushing(pulp.port, ADMIN, &source)
        .upload(&source, &bytes);
    Some(Case {
        client: pulp.mounting(sidecar.port, ADMIN, &target, &source),
        pulp,
        sidecar,
        source,
        target,
        bytes,
        digest,
    })
}

impl Case {
    fn mount(&self) -> u16 {
        let answer = self.client.mount(&self.target, &self.digest, &self.source);
        if answer.status == 202 {
            // The session is good.
            self.client.finish(&answer, &self.bytes).expect(201);
        }
        answer.status
    }

    /// How often Pulp answered a request of this method into the target.
    fn asked(&self, method: &str) -> usize {
        let text = format!("\"{method} /v2/{}/blobs/", self.target);
        self.pulp.answered(&text).len()
    }

    fn heads(&self) -> usize {
        let text = format!("\"HEAD /v2/{}/blobs/", self.source);
        self.pulp.answered(&text).len()
    }
}

fn artifact(media: &Path, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    media.join("artifact").join(&hex[..2]).join(&hex[2..])
}

#[test]
fn a_pending_layer_is_uploaded_from_pulps_own_artifact() {
    let Some(case) = case(|_| ()) else { return };
    let answer = case
        .client
        .mount(&case.target, &case.digest, &case.source)
        .expect(201);
    assert_eq!(answer.header("Docker-Content-Digest"), Some(&*case.digest));
    let location = format!("/v2/{}/blobs/{}", case.target, case.digest);
    assert_eq!(answer.header("Location"), Some(&*location));
    let got = case.pulp.pull(&case.client, &case.target, &case.digest);
    assert_eq!(got, case.bytes);
    assert_eq!(case.sidecar.mounts("relayed", "none"), 1);
    let bytes = case
        .sidecar
        .metric("crossmount_mounted_bytes_total", &[("via", "from")]);
    assert!((bytes - 700_000.0).abs() < 0.5, "{bytes}");
    settled(|| case.heads(), 1);
    // The mount, the session, its bytes, its end: nothing was retried.
    settled(|| case.asked("PUT"), 1);
    assert_eq!((case.asked("POST"), case.asked("PATCH")), (2, 1));
}

#[test]
fn without_the_artifacts_it_is_the_plain_upload() {
    let Some(case) = case(|config| {
        config.as_object_mut().unwrap().remove("store");
    }) else {
        return;
    };
    assert_eq!(case.mount(), 202);
    assert_eq!(case.heads(), 0);
    assert_eq!(case.sidecar.mounts("forwarded", "mended"), 1);
}

#[test]
fn an_artifact_that_is_elsewhere_or_empty_is_not_relayed() {
    let empty = tempfile::tempdir().unwrap();
    let root = empty.path().to_owned();
    let Some(case) = case(|config| config["store"]["artifacts"]["rootdirectory"] = json!(root))
    else {
        return;
    };
    assert_eq!(case.mount(), 202);
    let file = artifact(empty.path(), &case.digest);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, b"").unwrap();
    assert_eq!(case.mount(), 202);
    assert_eq!(case.sidecar.mounts("forwarded", "mended"), 2);
    assert_eq!(case.asked("PATCH"), 0);
}

#[test]
fn one_wrong_byte_gives_the_session_up() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let Some(case) = case(|config| config["store"]["artifacts"]["rootdirectory"] = json!(root))
    else {
        return;
    };
    let mut wrong = case.bytes.clone();
    wrong[350_000] ^= 1;
    let file = artifact(folder.path(), &case.digest);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, &wrong).unwrap();
    let opened = case
        .client
        .mount(&case.target, &case.digest, &case.source)
        .expect(202);
    case.client
        .head_blob(&case.target, &case.digest)
        .expect(404);
    // The session of the relay is deleted, and the client's own is another one.
    let deleted = format!("\"DELETE /v2/{}/blobs/uploads/", case.target);
    settled(|| case.pulp.answered(&deleted).len(), 1);
    assert!(case.pulp.answered(&deleted)[0].contains("\" 204 "));
    case.client.finish(&opened, &case.bytes).expect(201);
    assert_eq!(case.sidecar.mounts("relayed", "none"), 0);
    let log = case.sidecar.log();
    assert!(
        log.contains("its bytes are not what its name says"),
        "{log}"
    );
    assert_ne!(digest_of(&wrong), case.digest);
}

#[test]
fn what_is_too_large_or_would_take_too_long_is_not_begun() {
    for (setting, value) in [("max_size", "500kB"), ("deadline", "1ms")] {
        let Some(case) = case(|config| config["store"]["artifacts"][setting] = json!(value)) else {
            return;
        };
        assert_eq!(case.mount(), 202, "{setting}");
        assert_eq!(case.asked("PATCH"), 0, "{setting}");
        assert_eq!(case.sidecar.mounts("relayed", "none"), 0);
    }
}

#[test]
fn below_a_pull_through_path_no_blob_is_asked_for() {
    let pulp = pulp::start();
    let Some(pulp) = pulp else { return };
    let team = fresh("team");
    let source = format!("{team}/src");
    let sidecar = pulp.sidecar(|config| {
        config["store"] = json!({"artifacts": {
            "rootdirectory": pulp.media,
            "pull_through": [team],
        }});
    });
    let bytes = bytes_from(&source, 5000);
    let digest = pulp
        .pushing(pulp.port, ADMIN, &source)
        .upload(&source, &bytes);
    let target = format!("{}/app", fresh("team"));
    let client = pulp.mounting(sidecar.port, ADMIN, &target, &source);
    client.mount(&target, &digest, &source).expect(202);
    let heads = format!("\"HEAD /v2/{source}/blobs/");
    assert_eq!(pulp.answered(&heads).len(), 0);
    // A name that only begins alike is another one.
    let alike = format!("{team}x/src");
    let digest = pulp
        .pushing(pulp.port, ADMIN, &alike)
        .upload(&alike, &bytes);
    let client = pulp.mounting(sidecar.port, ADMIN, &target, &alike);
    client.mount(&target, &digest, &alike).expect(201);
}

#[test]
fn what_pulp_does_not_show_this_caller_is_not_relayed() {
    let Some(case) = case(|_| ()) else { return };
    // The blob is somewhere in Pulp, and its file there; the source does not hold it.
    let other = format!("{}/other", fresh("team"));
    let empty = case.pulp.pushing(case.pulp.port, ADMIN, &other);
    empty.upload(&other, b"something else");
    let client = case
        .pulp
        .mounting(case.sidecar.port, ADMIN, &case.target, &other);
    client.mount(&case.target, &case.digest, &other).expect(202);
    assert!(artifact(&case.pulp.media, &case.digest).is_file());
    assert_eq!(case.sidecar.mounts("relayed", "none"), 0);
    assert_eq!(case.asked("PATCH"), 0);
}

#[test]
fn no_more_are_relayed_at_once_than_is_said() {
    let Some(case) = case(|config| config["store"]["artifacts"]["concurrency"] = json!(1)) else {
        return;
    };
    let many: Vec<_> = (0..8)
        .map(|_| {
            let bytes = bytes_from(&fresh("many"), 400_000);
            let source = case.pulp.pushing(case.pulp.port, ADMIN, &case.source);
            source.upload(&case.source, &bytes)
        })
        .collect();
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let mounting: Vec<_> = many
            .iter()
            .map(|digest| scope.spawn(|| case.client.mount(&case.target, digest, &case.source)))
            .collect();
        mounting
            .into_iter()
            .map(|one| one.join().unwrap().status)
            .collect()
    });
    assert!(
        statuses.iter().all(|status| [201, 202].contains(status)),
        "{statuses:?}"
    );
    assert!(statuses.contains(&201), "{statuses:?}");
    let relayed = case.sidecar.mounts("relayed", "none");
    let mended = case.sidecar.mounts("forwarded", "mended");
    assert_eq!(relayed + mended, 8);
}
