//! What crossmount is made of: each dependency has a reason, and nothing of ours is unsafe.
//! Licences, sources and crates that are banned are `deny.toml`'s.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The package, as cargo reads its manifest.
fn package() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    read["packages"][0].clone()
}

/// Names and versions of a lock file.
fn locked(path: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for package in read(path).split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap().trim_matches('"').to_owned()
        };
        let versions = all.entry(value("name = ")).or_default();
        versions.insert(value("version = "));
    }
    all
}

#[test]
fn each_dependency_has_its_reason_in_contributing_and_each_reason_a_dependency() {
    let package = package();
    let dependencies = package["dependencies"].as_array().unwrap();
    let names = dependencies.iter().map(|one| one["name"].as_str().unwrap());
    let used: BTreeSet<_> = names.map(str::to_owned).collect();
    let text = read("CONTRIBUTING.md");
    let (_, table) = text.split_once("| crate | why |\n|---|---|\n").unwrap();
    let rows = table.lines().map_while(|line| line.strip_prefix("| "));
    let explained: BTreeSet<_> = rows
        .map(|row| {
            let (name, reason) = row.split_once(" | ").unwrap();
            assert!(reason.len() > 10, "{name} has no reason");
            name.to_owned()
        })
        .collect();
    assert_eq!(used, explained);
    assert!(used.len() > 20, "{used:?}");
}

#[test]
fn every_dependency_comes_from_the_one_registry_by_a_version() {
    for dependency in package()["dependencies"].as_array().unwrap() {
        let source = dependency["source"].as_str().unwrap_or_default();
        assert!(source.starts_with("registry+"), "{dependency}");
        assert_ne!(dependency["req"], "*", "{dependency}");
    }
}

#[test]
fn no_code_of_ours_can_be_unsafe() {
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let text = read(manifest);
        let (_, lints) = text.split_once("[lints.rust]\n").unwrap();
        let lints = lints.split("\n[").next().unwrap();
        assert!(
            lints.contains("unsafe_code = \"forbid\""),
            "{manifest}: {lints}"
        );
    }
}

#[test]
fn the_fuzzer_is_built_with_what_is_shipped() {
    let (ours, fuzzers) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    let common = fuzzers.iter().filter(|(name, _)| ours.contains_key(*name));
    let mut count = 0;
    for (name, versions) in common {
        let others: Vec<_> = versions.difference(&ours[name]).collect();
        assert!(
            others.is_empty(),
            "{name} {others:?}: copy Cargo.lock to fuzz and build there"
        );
        count += 1;
    }
    assert!(count > 100, "only {count} are common");
}
