//! `check` in front of a registry whose storage is a bucket.

use super::{as_user, config, listed};
use crate::needs;
use crate::support::counting_proxy::{DENIED, FAILED, Fate, SLOW_DOWN};
use crate::support::program_run::{Ended, run_within};
use crate::support::seaweedfs::{LISTER, REGISTRY};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// `check`, with the registry's own configuration if it is given.
fn check(config: &Value, registrys: Option<&Value>) -> Ended {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("crossmount.yml");
    fs::write(&file, config.to_string()).unwrap();
    let mut command = as_user(LISTER);
    command.arg("check").arg("--config").arg(&file);
    if let Some(registrys) = registrys {
        let file = home.path().join("config.yml");
        fs::write(&file, registrys.to_string()).unwrap();
        command.arg("--registry-config").arg(file);
    }
    run_within(Duration::from_secs(20), command)
}

#[track_caller]
fn says(ended: &Ended, words: &[&str]) {
    for words in words {
        assert!(
            ended.out.contains(words),
            "{words}: {}{}",
            ended.out,
            ended.err
        );
    }
}

#[test]
fn a_check_reaches_the_bucket_and_compares_it_with_the_registrys() {
    needs!("docker-registry");
    let Some((server, bucket, proxy)) = listed() else {
        return;
    };
    let registry = bucket.registry(server.port, |_| ());
    let checked = |change: &dyn Fn(&mut Value), registrys: Option<&Value>| {
        let mut s3 = bucket.settings(proxy.port, LISTER);
        change(&mut s3);
        check(&config(&registry.url(), &json!({"s3": s3})), registrys)
    };
    let name = &bucket.name;
    let empty = checked(&|_| (), None);
    assert_eq!(empty.code, Some(0), "{}", empty.out);
    let holds_nothing = "can be listed, and holds no object below docker/registry/v2/";
    says(&empty, &["warning: ", holds_nothing]);
    registry.client().upload("a", b"a layer");
    let ended = checked(&|_| (), None);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    says(
        &ended,
        &[
            &format!("ok: the bucket {name} at http://127.0.0.1:"),
            "s3:ListBucket, and no other",
        ],
    );
    assert!(!ended.out.contains(LISTER.secret_key));
    proxy.assert_only_lists();

    let mut theirs = registry.config.clone();
    theirs["storage"]["s3"]["regionendpoint"] = json!(format!("http://127.0.0.1:{}", proxy.port));
    let agrees = checked(&|_| (), Some(&theirs));
    assert_eq!(agrees.code, Some(0), "{}", agrees.out);
    says(&agrees, &["and the configuration agree"]);
    let same_keys = |s3: &mut Value| {
        for key in ["accesskey", "secretkey"] {
            s3[key] = theirs["storage"]["s3"][key].clone();
        }
    };
    says(
        &checked(&same_keys, Some(&theirs)),
        &["warning: store.s3 has the registry's own keys, which may write"],
    );
    let other_root = checked(&|s3| s3["rootdirectory"] = json!("x"), Some(&theirs));
    assert_eq!(other_root.code, Some(1), "{}", other_root.out);
    says(
        &other_root,
        &[
            "fault: the rootdirectory of storage.s3 is not set",
            "is x/ here",
        ],
    );
}

#[test]
fn a_check_names_the_driver_and_what_to_write() {
    let store = json!({"filesystem": {"rootdirectory": "/nonexistent"}});
    let mut ours = config("http://127.0.0.1:1", &store);
    ours["mount"]["writer"] = json!("store");
    let s3 = json!({"bucket": "b", "region": "eu-west-1", "secretkey": REGISTRY.secret_key,
        "accesskey": "A", "encrypt": true, "rootdirectory": "/x"});
    let theirs = json!({"version": 0.1, "storage": {"s3": s3}});
    let ended = check(&ours, Some(&theirs));
    says(
        &ended,
        &[
            "fault: the registry stores in s3, where crossmount writes no link: set mount.writer to registry",
            "the section for crossmount:\n  store:\n    s3:\n      bucket: b\n      region: eu-west-1\n",
            "secretkey: (masked)",
        ],
    );
    assert!(!ended.out.contains(REGISTRY.secret_key));
    ours["mount"]["writer"] = json!("registry");
    ours["store"].take();
    says(
        &check(&ours, Some(&theirs)),
        &["warning: the registry stores in s3, which crossmount can list with this section"],
    );
    ours["store"] = json!({"gcs": {"bucket": "b", "keyfile": "/nonexistent"}});
    let ended = check(&ours, Some(&theirs));
    says(
        &ended,
        &[
            "fault: the registry stores in s3, but here is store.gcs",
            "fault: store.gcs: ",
        ],
    );
}

#[test]
fn a_check_of_a_bucket_that_cannot_be_listed_says_what_to_do() {
    let Some((server, bucket, proxy)) = listed() else {
        return;
    };
    let checked = |settings: Value| {
        let ended = check(
            &config("http://127.0.0.1:1", &json!({"s3": settings})),
            None,
        );
        assert_eq!(ended.code, Some(1), "{}", ended.out);
        ended
    };
    let settings = bucket.settings(proxy.port, LISTER);
    for (fate, words) in [
        (
            DENIED,
            "403 AccessDenied): give the credentials s3:ListBucket on it",
        ),
        (FAILED, "answered 500 InternalError: try again"),
        (SLOW_DOWN, "wants fewer requests (SlowDown): try again"),
        (
            Fate::Answer("404 Not Found", "NoSuchBucket"),
            "correct the name in store.s3",
        ),
        (
            Fate::Answer("301 Moved Permanently", "PermanentRedirect"),
            "is store.s3.region the region",
        ),
        (Fate::Hang, "did not answer in time: can this host reach it"),
    ] {
        proxy.decide(move |_| fate);
        says(&checked(settings.clone()), &[words]);
    }
    proxy.pass_only_lists();
    let mut wrong = settings.clone();
    wrong["secretkey"] = json!("another");
    says(
        &checked(wrong),
        &["SignatureDoesNotMatch): the credentials are wrong"],
    );
    let closed = server.closed_bucket().settings(proxy.port, LISTER);
    says(
        &checked(closed),
        &["fault: the bucket closed-", "s3:ListBucket"],
    );
    let mut nowhere = settings;
    nowhere["regionendpoint"] = json!("http://127.0.0.1:1");
    says(
        &checked(nowhere),
        &["cannot be listed: ", "can this host reach it"],
    );
}
