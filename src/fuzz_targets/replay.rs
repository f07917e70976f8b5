//! Replays the fuzzer's corpus, without any tool.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::fuzz_targets::TARGETS;

/// The most bytes of the whole corpus: the repository stays small.
const MOST: u64 = 1024 * 1024;

fn corpus(name: &str) -> Vec<PathBuf> {
    let directory = fuzz().join("corpus").join(name);
    let files = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

#[test]
fn every_input_that_was_kept_holds_and_some_are_taken_and_some_are_not() {
    for (name, target) in TARGETS {
        let mut counts = [0_u32; 2];
        for file in corpus(name) {
            let input = fs::read(&file).unwrap();
            // The test harness shows it if the target panics.
            println!("{}", file.display());
            counts[usize::from(target(&input))] += 1;
        }
        let [refused, taken] = counts;
        assert!(refused > 0 && taken > 0, "{name}: {refused} and {taken}");
    }
}

#[test]
fn each_target_is_one_of_the_fuzzers_and_the_other_way_round() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let paths = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let listed: BTreeSet<_> = paths
        .filter_map(|path| path.strip_suffix(".rs\""))
        .collect();
    let known: BTreeSet<_> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, known);
    for name in known {
        let file = fuzz().join("fuzz_targets").join(name).with_extension("rs");
        let text = fs::read_to_string(file).unwrap();
        assert!(
            text.contains(&format!("run(\"{name}\", ")),
            "{name}: {text}"
        );
    }
}

#[test]
fn the_corpus_is_small() {
    let sizes = TARGETS.iter().flat_map(|(name, _)| corpus(name));
    let sizes = sizes.map(|file| fs::metadata(file).unwrap().len());
    let sizes: Vec<_> = sizes.collect();
    assert!(sizes.iter().sum::<u64>() < MOST);
    assert!(sizes.iter().all(|size| *size <= 4096));
}
