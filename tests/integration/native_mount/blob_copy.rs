//! Layers that Pulp holds and does not mount yet.

use crate::support;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use support::misbehaving_upstream::{self, MisbehavingUpstream, Reply};
use support::pulp::{self, ADMIN, Pulp, fresh, settled};
use support::raw_http::Answer;
use support::registry_client::Client;
use support::sidecar::Sidecar;
use support::{bytes_from, digest_of, wait_until};
use tempfile::TempDir;

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
fn one_wrong_byte_is_enough_and_no_session_is_begun() {
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
    assert_eq!(case.mount(), 202);
    assert_eq!(case.sidecar.mounts("relayed", "none"), 0);
    assert_eq!(case.asked("PATCH"), 0);
    // The mount, and the client's own upload.
    assert_eq!(case.asked("POST"), 2);
    case.sidecar
        .wait_for_log("its bytes are not what its name says");
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

/// A scripted Pulp, whose answer to the bytes waits for the test.
struct Slow {
    upstream: MisbehavingUpstream,
    sidecar: Sidecar,
    digest: String,
    /// Each message lets one answer go.
    go_on: Sender<()>,
    _media: TempDir,
}

impl Slow {
    fn start(change: impl FnOnce(&mut Value)) -> Self {
        let (go_on, told) = channel();
        let told = Mutex::new(told);
        let upstream = MisbehavingUpstream::start(move |heard| {
            let session = "Location: /v2/dst/blobs/uploads/0-1\r\n";
            let (status, headers) = match &*heard.method {
                "POST" if heard.target.contains("mount=") => {
                    let unknown = r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#;
                    return Reply::Answer(misbehaving_upstream::answer("404 Not Found", unknown));
                }
                "HEAD" => ("302 Found", String::new()),
                "POST" => ("202 Accepted", session.to_owned()),
                "PATCH" => {
                    told.lock().unwrap().recv().unwrap();
                    ("202 Accepted", session.to_owned())
                }
                "PUT" => {
                    let digest = heard.target.split("digest=").nth(1).unwrap();
                    let digest = digest.replace("%3A", ":");
                    (
                        "201 Created",
                        format!("Docker-Content-Digest: {digest}\r\n"),
                    )
                }
                _ => ("204 No Content", String::new()),
            };
            let text = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n");
            Reply::Answer(text.into_bytes())
        });
        let media = tempfile::tempdir().unwrap();
        let bytes = bytes_from("slow", 3000);
        let digest = digest_of(&bytes);
        let file = artifact(media.path(), &digest);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
        let mut config = json!({
            "listen": {"address": "127.0.0.1:0"},
            "admin": {"address": "127.0.0.1:0"},
            "upstream": {"url": upstream.url(), "kind": "pulp"},
            "store": {"artifacts": {"rootdirectory": media.path()}},
        });
        change(&mut config);
        Self {
            sidecar: Sidecar::from(&config),
            upstream,
            digest,
            go_on,
            _media: media,
        }
    }

    fn mount(&self) -> Answer {
        self.sidecar.client().mount("dst", &self.digest, "src")
    }

    fn count(&self, method: &str) -> usize {
        let all = self.upstream.all();
        all.iter().filter(|heard| heard.method == method).count()
    }
}

#[test]
fn no_more_blobs_are_copied_at_once_than_configured() {
    let slow = Slow::start(|config| config["store"]["artifacts"]["concurrency"] = json!(1));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| slow.mount());
        wait_until("one is on its way", || slow.count("PATCH") == 1);
        // There is no place for it, and it does not wait for one.
        slow.mount().expect(202);
        slow.go_on.send(()).unwrap();
        first.join().unwrap().expect(201);
    });
    slow.go_on.send(()).unwrap();
    slow.mount().expect(201);
    assert_eq!(slow.count("PATCH"), 2);
}

#[test]
fn what_takes_too_long_is_given_up_and_its_session_deleted_when_that_can_last() {
    let slow = Slow::start(|config| config["store"]["artifacts"]["deadline"] = json!("300ms"));
    slow.mount().expect(202);
    assert_eq!(slow.count("PATCH"), 1);
    // Pulp would bring a session back that is deleted while it takes its bytes.
    assert_eq!(slow.count("DELETE"), 0);
    slow.go_on.send(()).unwrap();
    wait_until("the session is deleted", || slow.count("DELETE") == 1);
    assert_eq!(slow.count("PUT"), 0);
    let deleted = slow.upstream.all();
    let deleted = deleted
        .iter()
        .find(|heard| heard.method == "DELETE")
        .unwrap();
    assert_eq!(deleted.target, "/v2/dst/blobs/uploads/0-1");
}

#[test]
fn a_client_that_leaves_does_not_leave_a_session_behind() {
    let slow = Slow::start(|_| ());
    let client = slow.sidecar.client();
    let mut connection = client.connect();
    let target = support::registry_client::mount_target("dst", &slow.digest, "src");
    let request = client.request("POST", &target);
    connection.write(&request.bytes(client.port)).unwrap();
    wait_until("it is on its way", || slow.count("PATCH") == 1);
    drop(connection);
    slow.go_on.send(()).unwrap();
    wait_until("the upload is ended", || slow.count("PUT") == 1);
    assert_eq!(slow.count("DELETE"), 0);
}
