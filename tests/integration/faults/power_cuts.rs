//! The power fails: what was answered is there, and nothing is half there.

use super::power_cut_filesystems::{BTRFS, EXT4, EXT4_FAST_COMMIT, Kind, XFS};
use super::power_cut_findings::Findings;
use super::power_cut_harness::{Recording, Writer};
use crate::needs;
use crate::support::figures;
use crate::support::recording_disk::Event;
use crate::support::recording_disk::can_record;
use std::time::Instant;

const PART: &str = "Power cuts";
/// How many cuts are played where nothing is asserted.
const COUNTED: usize = 300;

/// Records a run, plays cuts, and notes what is left.
fn play(kind: Kind, writer: Writer, cuts: usize) -> Findings {
    let began = Instant::now();
    let recording = Recording::make(kind, writer, figures::amount(20, 150));
    let flushes = recording.count(|event| matches!(event, Event::Flush));
    let sent = recording.count(|event| matches!(event, Event::Write { .. }));
    println!(
        "{}: {} answers, {flushes} flushes, {sent} writes, {:?}",
        kind.name,
        recording.promises.len(),
        began.elapsed()
    );
    let findings = recording.cut(kind, cuts, figures::amount(34, 20));
    println!("{:?} {:#?}", began.elapsed(), findings.examples());
    let who = match writer {
        Writer::Crossmount(durability) => format!("crossmount with durability {durability}"),
        Writer::Registry => "the registry alone".to_owned(),
    };
    let tried = format!("{}, mounts by {who}", kind.name);
    figures::note(PART, &tried, findings.cuts, &findings.told());
    findings
}

fn nothing_is_lost(kind: Kind) {
    let findings = play(kind, Writer::Crossmount("full"), figures::amount(102, 1000));
    assert!(findings.is_clean(), "{findings:#?}");
}

#[test]
fn on_ext4_a_power_cut_takes_no_link_that_was_answered_and_tears_none() {
    needs!("docker-registry", "mkfs.ext4", "e2fsck");
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
fn what_a_power_cut_takes_elsewhere_and_with_less_durability_is_counted() {
    needs!(
        "docker-registry",
        "mkfs.ext4",
        "e2fsck",
        "mkfs.xfs",
        "mkfs.btrfs"
    );
    if !figures::is_long() || !can_record() {
        return;
    }
    for kind in [EXT4, XFS] {
        for writer in [
            Writer::Crossmount("file"),
            Writer::Crossmount("none"),
            Writer::Registry,
        ] {
            play(kind, writer, COUNTED);
        }
    }
    for kind in [BTRFS, EXT4_FAST_COMMIT] {
        for writer in [Writer::Crossmount("full"), Writer::Registry] {
            play(kind, writer, COUNTED);
        }
    }
}
