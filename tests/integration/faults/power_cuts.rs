//! The power fails: what was answered is there, and nothing is half there.

use super::power_cut_harness::{BTRFS, EXT4, EXT4_FAST_COMMIT, Kind, Recording, Writer, XFS};
use crate::needs;
use crate::support::figures;
use crate::support::recording_disk::Event;
use crate::support::recording_disk::can_record;
use std::time::Instant;

const PART: &str = "Power cuts";

/// Records a run, plays cuts, and notes what is left.
fn play(kind: Kind, writer: Writer) -> super::power_cut_aftermath::Findings {
    let began = Instant::now();
    let recording = Recording::make(kind, writer, figures::amount(20, 150));
    let flushes = recording.count(|event| matches!(event, Event::Flush));
    let writes = recording.count(|event| matches!(event, Event::Write { .. }));
    println!(
        "{}: {} answers, {flushes} flushes, {writes} writes, {:?}",
        kind.name,
        recording.promises.len(),
        began.elapsed()
    );
    let findings = recording.cut(kind, figures::amount(102, 1000), figures::amount(34, 20));
    println!("{:?}", began.elapsed());
    let who = match writer {
        Writer::Crossmount(durability) => format!("crossmount with durability {durability}"),
        Writer::Registry => "the registry alone".to_owned(),
    };
    let tried = format!("{}, mounts by {who}", kind.name);
    figures::note(PART, &tried, findings.cuts, &findings.told());
    findings
}

fn nothing_is_lost(kind: Kind) {
    let findings = play(kind, Writer::Crossmount("full"));
    assert!(findings.is_clean(), "{findings:#?}");
}

#[test]
fn on_ext4_a_power_cut_takes_no_link_that_was_answered_and_tears_none() {
    needs!("docker-registry", "mkfs.ext4");
    if can_record() {
        nothing_is_lost(EXT4);
    }
}

#[test]
fn on_xfs_a_power_cut_takes_no_link_that_was_answered_and_tears_none() {
    needs!("docker-registry", "mkfs.xfs");
    if can_record() {
        nothing_is_lost(XFS);
    }
}

#[test]
fn on_other_filesystems_a_power_cut_takes_no_link_that_was_answered_and_tears_none() {
    needs!("docker-registry", "mkfs.ext4", "mkfs.btrfs");
    if !figures::is_long() || !can_record() {
        return;
    }
    nothing_is_lost(EXT4_FAST_COMMIT);
    nothing_is_lost(BTRFS);
}

#[test]
fn what_a_power_cut_takes_with_less_durability_and_without_crossmount_is_counted() {
    needs!("docker-registry", "mkfs.ext4", "mkfs.xfs");
    if !figures::is_long() || !can_record() {
        return;
    }
    for kind in [EXT4, XFS] {
        for writer in [
            Writer::Crossmount("file"),
            Writer::Crossmount("none"),
            Writer::Registry,
        ] {
            let findings = play(kind, writer);
            assert!(findings.unmountable.is_empty(), "{findings:#?}");
        }
    }
}
