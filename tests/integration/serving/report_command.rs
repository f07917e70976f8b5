//! `report`: what a store holds, and how often it was sent.

use crate::{needs, support};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::digest_of;
use support::image::Image;
use support::program_run::{Ended, run};
use support::registry::Registry;
use support::sidecar::{BINARY, command};
use support::store::{Store, listing};

fn report(root: &Path, more: &[&str]) -> Ended {
    let mut command = command(BINARY);
    command.arg("report").arg("--root").arg(root).args(more);
    run(command)
}

fn counted(root: &Path) -> Value {
    let ended = report(root, &["--json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

/// Three images, of which two hold the same layer of 3000 bytes and more.
fn filled() -> (Registry, u64) {
    let registry = Registry::start();
    let client = registry.client();
    for (name, seeds) in [
        ("a", &["one", "two"][..]),
        ("team/b", &["one", "own"]),
        ("c", &["c"]),
    ] {
        Image::of(seeds, 3000).push(&client, name, "v1");
    }
    let shared = Image::of(&["one"], 3000).layers[0].bytes.len() as u64;
    (registry, shared)
}

#[test]
fn a_report_counts_what_was_sent_more_than_once() {
    needs!("docker-registry");
    let (registry, shared) = filled();
    // The registry takes it, and it is whole.
    registry.client().upload("a", b"");
    let root = &registry.store.root;
    let before = listing(root);
    let found = counted(root);
    assert_eq!(found["repositories"], 3);
    // Two layers and a configuration twice, a layer and a configuration.
    assert_eq!(found["links"], 9);
    assert_eq!(found["layers"]["count"], 7);
    assert_eq!(found["others"]["count"], 3);
    assert_eq!(found["blobs"]["count"], 10);
    assert_eq!(found["sparable_bytes"], shared);
    assert_eq!(found["most_shared"][0]["repositories"], 2);
    assert_eq!(found["most_shared"][0]["size"], shared);
    for (_, kind) in found["damage"].as_object().unwrap() {
        assert_eq!(kind["count"], 0, "{found}");
    }
    let text = report(root, &[]).out;
    let digest = Image::of(&["one"], 3000).layers[0].digest.clone();
    for part in [
        "repositories     3",
        &digest,
        "in 2 repositories",
        "nothing is damaged",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(listing(root), before);
}

#[test]
fn a_report_names_what_is_damaged() {
    needs!("docker-registry");
    let (registry, _) = filled();
    let store = &registry.store;
    let absent = digest_of(b"absent");
    store.plant_link("a", &absent, &absent);
    store.plant_link("a", &digest_of(b"odd"), &absent);
    let emptied = &Image::of(&["own"], 3000).layers[0].digest;
    fs::write(store.data(emptied), "").unwrap();
    // The one blob that is whole while it is empty is not whole without its file.
    let nothing = registry.client().upload("a", b"");
    fs::remove_file(store.data(&nothing)).unwrap();
    let found = counted(&store.root);
    let damage = &found["damage"];
    let examples = |kind: &str| damage[kind]["examples"].clone();
    assert_eq!(
        examples("broken_links"),
        serde_json::json!([format!("a@{}", digest_of(b"odd"))])
    );
    assert_eq!(damage["dangling_links"]["count"], 3);
    let mut absent = [emptied.clone(), nothing];
    absent.sort();
    assert_eq!(examples("empty_blobs"), serde_json::json!(absent));
    let text = report(&store.root, &[]).out;
    let dangling = format!("team/b@{emptied}");
    assert!(
        text.contains(&dangling) && text.contains("without data: 3"),
        "{text}"
    );
}

#[test]
fn where_no_registry_has_written_there_is_no_report() {
    let home = tempfile::tempdir().unwrap();
    let ended = report(home.path(), &[]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended
            .err
            .contains("set --root to the registry's rootdirectory"),
        "{}",
        ended.err
    );
    assert_eq!(ended.out, "");
}

#[test]
fn on_a_terminal_it_is_seen_how_far_a_report_is() {
    needs!("script");
    let home = tempfile::tempdir().unwrap();
    let store = Store::new(home.path());
    // More than can be looked at between two pictures of the line.
    for number in 0..5000_u32 {
        let digest = digest_of(&number.to_be_bytes());
        store.plant_link("a", &digest, &digest);
    }
    let line = format!("{BINARY} report --root {}", home.path().display());
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &line, "/dev/null"]);
    let ended = run(script);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("0 repositories, "), "{}", ended.out);
    // And nowhere else.
    assert_eq!(report(home.path(), &[]).err, "");
}
