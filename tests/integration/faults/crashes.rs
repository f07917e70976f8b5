//! The process dies at any moment of any mount: nothing half-done is ever seen.

use super::crash_harness::CrashHarness;
use crate::support::figures;
use crate::support::sidecar::{BINARY, command};
use crate::support::strace::{count_delayed, inject_faults, record_calls_at};
use crate::{needs, needs_mounts};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// In microseconds: what the disk's calls are made slower by, so that a kill falls between two.
const DELAYS: (u64, u64) = (2_000, 30_000);
/// Each call of a link's way, before and after it is done.
const SLOW: [(&str, &str); 9] = [
    ("openat", "enter"),
    ("openat", "exit"),
    ("mkdirat", "enter"),
    ("mkdirat", "exit"),
    ("write", "exit"),
    ("fsync", "enter"),
    ("fsync", "exit"),
    ("linkat", "enter"),
    ("linkat", "exit"),
];
/// Those where every file has a name, as long as a file has its temporary one.
const SLOW_WITH_NAMES: [(&str, &str); 5] = [
    ("fsync", "enter"),
    ("fsync", "exit"),
    ("linkat", "enter"),
    ("linkat", "exit"),
    ("unlinkat", "exit"),
];

/// Rounds beyond those that are wanted, where the kill came before anything was slow.
const MORE: u64 = 10;

fn told(crashing: &CrashHarness) -> String {
    let tally = &crashing.tally;
    format!(
        "{} answers of 201, each with its link, read back through the registry; {} mounts without \
         an answer, of which {} had their link, whole; {} temporary files left, all of them removed \
         by the scan once they were old; each of the unanswered mounts made again",
        tally.received, tally.unanswered, tally.untold, tally.left
    )
}

#[test]
fn a_kill_at_any_moment_leaves_no_link_that_is_not_whole_and_no_201_without_one() {
    needs!("docker-registry");
    let rounds = figures::amount(40, 500);
    let mut crashing = CrashHarness::start();
    for _ in 0..rounds {
        let moment = Duration::from_micros(crashing.random.below(60_000));
        crashing.round(command(BINARY), moment);
    }
    crashing.all_is_whole();
    assert!(crashing.tally.received >= rounds / 2, "{}", told(&crashing));
    assert!(crashing.tally.unanswered > rounds, "{}", told(&crashing));
    assert_eq!(crashing.tally.left, 0, "a file without a name is left");
    let tried = "kill -9 at a random moment of mounts by four clients at once";
    figures::note("Crashes", tried, rounds, &told(&crashing));
}

/// Kills it `each` times while one of these calls is slow, for each of them.
fn kill_between(crashing: &mut CrashHarness, slow_calls: &[(&str, &str)], each: u64) -> u64 {
    let home = tempfile::tempdir().unwrap();
    let mut rounds = 0;
    for (call, side) in slow_calls {
        let (mut done, mut slowed) = (0, 0);
        while done < each || slowed == 0 {
            assert!(done < each + MORE, "no {call} was slow on its {side}");
            let delay = DELAYS.0 + crashing.random.below(DELAYS.1 - DELAYS.0);
            let fault = format!("{call}:delay_{side}={delay}");
            let log = home.path().join(format!("trace{rounds}"));
            let command = slow(call, &fault, &log, crashing);
            // A mount makes about ten calls, of which one or a few are slow.
            let moment = Duration::from_micros(crashing.random.below(delay * 6));
            crashing.round(command, moment);
            slowed += count_delayed(&log, &crashing.store().top());
            done += 1;
            rounds += 1;
        }
    }
    assert!(crashing.tally.received >= rounds / 2, "{}", told(crashing));
    rounds
}

#[test]
fn a_kill_between_any_two_calls_leaves_no_link_that_is_not_whole_and_no_201_without_one() {
    needs!("docker-registry", "strace");
    let mut crashing = CrashHarness::start();
    let rounds = kill_between(&mut crashing, &SLOW, figures::amount(2, 20));
    assert_eq!(crashing.tally.left, 0, "a file without a name is left");
    crashing.all_is_whole();
    let tried = "the same while strace delays one of the calls of a link's way, before or after it";
    figures::note("Crashes", tried, rounds, &told(&crashing));
}

#[test]
fn where_every_file_has_a_name_a_kill_leaves_temporary_files_that_the_scan_removes() {
    needs!("docker-registry", "strace", "bindfs");
    needs_mounts!();
    let mut crashing = CrashHarness::of_names_only();
    let rounds = kill_between(&mut crashing, &SLOW_WITH_NAMES, figures::amount(1, 20));
    assert!(crashing.tally.left > 0, "no kill fell between two calls");
    crashing.all_is_whole();
    crashing.walk_takes_what_is_old();
    let tried = "the same on a filesystem that has no files without a name (bindfs)";
    figures::note("Crashes", tried, rounds, &told(&crashing));
}

/// The sidecar with one slow call; where a call is not the disk's alone, only in the store.
fn slow(call: &str, fault: &str, log: &Path, crashing: &CrashHarness) -> Command {
    if call == "openat" {
        return record_calls_at(&[&crashing.store().top()], call, &[fault], log);
    }
    inject_faults(&[fault], log)
}
