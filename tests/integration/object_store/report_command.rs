//! `report` on a bucket.

use super::{as_user, listed};
use crate::needs;
use crate::support::counting_proxy::{CountingProxy, DENIED, Fate, SLOW_DOWN};
use crate::support::image::Image;
use crate::support::program_run::{Ended, run_within};
use crate::support::seaweedfs::{self, Bucket, LISTER};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn report(mut command: Command, arguments: &[&str]) -> Ended {
    command.arg("report").args(arguments);
    run_within(Duration::from_secs(20), command)
}

fn at(bucket: &Bucket, proxy: &CountingProxy, more: &[&str]) -> Ended {
    let endpoint = format!("http://127.0.0.1:{}", proxy.port);
    let arguments = ["--s3", &bucket.name, "--s3-endpoint", &endpoint];
    report(as_user(LISTER), &[&arguments, more].concat())
}

#[track_caller]
fn counted(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

#[test]
fn a_report_counts_what_was_sent_more_than_once_by_lists_alone() {
    needs!("docker-registry");
    let Some((server, bucket, proxy)) = listed() else {
        return;
    };
    let registry = bucket.registry(server.port, |config| {
        config["storage"]["s3"]["rootdirectory"] = json!("/a/b/");
    });
    let client = registry.client();
    for (name, seeds) in [("a", &["one", "two"][..]), ("team/b", &["one", "own"])] {
        Image::of(seeds, 3000).push(&client, name, "v1");
    }
    let shared = Image::of(&["one"], 3000).layers[0].bytes.len();
    let by_flags = at(&bucket, &proxy, &["--s3-root", "a/b", "--json"]);
    let found = counted(&by_flags);
    assert_eq!(found["repositories"], 2, "{found}");
    // Two layers and a configuration twice.
    assert_eq!(found["links"], 6);
    assert_eq!(found["layers"]["count"], 5);
    assert_eq!(found["others"]["count"], 2);
    assert_eq!(found["sparable_bytes"], shared);
    assert_eq!(found["most_shared"][0]["repositories"], 2);
    assert_eq!(found["list_calls"], 2);
    proxy.assert_only_lists();
    // The same by the registry's own configuration, with the credentials of its environment.
    let mut theirs = registry.config.clone();
    theirs["storage"]["s3"]["regionendpoint"] = json!(format!("http://127.0.0.1:{}", proxy.port));
    for key in ["accesskey", "secretkey"] {
        theirs["storage"]["s3"][key].take();
    }
    let file = registry.home().join("theirs.yml");
    fs::write(&file, theirs.to_string()).unwrap();
    let file = file.to_string_lossy();
    let mut command = as_user(seaweedfs::REGISTRY);
    command
        .env("REGISTRY_STORAGE_S3_ACCESSKEY", LISTER.access_key)
        .env("REGISTRY_STORAGE_S3_SECRETKEY", LISTER.secret_key);
    let by_file = report(command, &["--registry-config", &file, "--json"]);
    assert_eq!(counted(&by_file), found);
    assert!(
        proxy
            .calls()
            .iter()
            .all(|it| it.access_key == LISTER.access_key)
    );
    let text = at(&bucket, &proxy, &["--s3-root", "a/b"]).out;
    assert!(text.contains("this report took 2 lists"), "{text}");
    assert!(text.contains("nothing is damaged"), "{text}");
}

#[test]
fn a_report_names_what_is_damaged_in_a_bucket() {
    let Some((_, bucket, proxy)) = listed() else {
        return;
    };
    bucket.plant("", &["a", "b"], b"whole");
    let gone = bucket.plant("", &["a"], b"gone");
    bucket.remove(&seaweedfs::data("", &gone));
    let empty = bucket.plant("", &[], b"empty");
    bucket.put(&seaweedfs::data("", &empty), b"");
    let broken = bucket.plant("", &[], b"broken");
    bucket.put(&seaweedfs::link("", "a", &broken), b"sha256:");
    let found = counted(&at(&bucket, &proxy, &["--json"]));
    let damage = &found["damage"];
    assert_eq!(damage["dangling_links"]["examples"], json!([gone]));
    assert_eq!(damage["empty_blobs"]["examples"], json!([empty]));
    assert_eq!(
        damage["broken_links"]["examples"],
        json!([format!("a@{broken}")])
    );
    assert_eq!(found["sparable_bytes"], 5);
}

#[test]
fn a_report_goes_on_after_a_failure_that_passes() {
    let Some((_, bucket, proxy)) = listed() else {
        return;
    };
    bucket.plant("", &["a"], b"whole");
    let calls = AtomicUsize::new(0);
    proxy.decide(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        1 => SLOW_DOWN,
        _ => Fate::Pass,
    });
    let found = counted(&at(&bucket, &proxy, &["--json"]));
    assert_eq!(
        (&found["links"], &found["list_calls"]),
        (&json!(1), &json!(3))
    );
}

#[test]
fn a_report_that_cannot_be_made_says_why() {
    let Some((server, bucket, proxy)) = listed() else {
        return;
    };
    let fails = |ended: Ended, code: i32, words: &str| {
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        assert!(ended.err.contains(words), "{words}: {}", ended.err);
    };
    let name = &bucket.name;
    fails(
        at(&bucket, &proxy, &[]),
        1,
        &format!("the bucket {name} holds no registry"),
    );
    let closed = server.closed_bucket();
    fails(
        at(&closed, &proxy, &[]),
        1,
        "denied the list (403 AccessDenied)",
    );
    proxy.decide(|_| DENIED);
    fails(
        at(&bucket, &proxy, &[]),
        1,
        "denied the list (403 AccessDenied)",
    );
    fails(
        report(as_user(LISTER), &["--s3", name]),
        64,
        "--s3-region: is missing",
    );
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.yml");
    for (storage, words) in [
        (
            "{swift: {}}",
            "the registry stores in swift, which crossmount cannot list",
        ),
        ("{s3: {region: r}}", "storage.s3.bucket: is missing"),
        (
            "{filesystem: {rootdirectory: /nonexistent}}",
            "holds no registry",
        ),
    ] {
        fs::write(&file, format!("version: 0.1\nstorage: {storage}\n")).unwrap();
        let arguments = ["--registry-config", &file.to_string_lossy()];
        let code = if storage.contains("filesystem") {
            1
        } else {
            64
        };
        fails(report(as_user(LISTER), &arguments), code, words);
    }
}
