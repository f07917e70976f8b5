//! Each call on a link's way fails once, in every way that a disk knows: the push goes on, and
//! no link is ever half there.

use crate::{needs, needs_mounts, support};
use rustix::io::Errno;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use support::fault_disk::{BLOB, ENOUGH, FaultDisk};
use support::sidecar;
use support::store::{Store, trace_of};
use support::strace::{SystemCall, record_calls, record_calls_at, recorded_calls};
use support::tools;

const ERRORS: [(&str, Errno); 8] = [
    ("EIO", Errno::IO),
    ("ENOSPC", Errno::NOSPC),
    ("EDQUOT", Errno::DQUOT),
    ("EACCES", Errno::ACCESS),
    ("EROFS", Errno::ROFS),
    ("ESTALE", Errno::STALE),
    ("ENOENT", Errno::NOENT),
    ("EEXIST", Errno::EXIST),
];

/// Runs a case for each error, four at a time, whatever other tests do.
fn for_each_error(case: impl Fn(&str, Errno) + Sync) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for two in ERRORS.chunks(2) {
            let case = &case;
            scope.spawn(move || two.iter().for_each(|(name, errno)| case(name, *errno)));
        }
    });
}

fn rules(error: &str, rules: &[(&str, &str)]) -> Vec<String> {
    rules
        .iter()
        .map(|(calls, when)| format!("{calls}:error={error}:when={when}"))
        .collect()
}

/// Starts it with these faults, and mounts until a link is written. Gives the calls that failed, and
/// whether one sync commits all that was done before it.
fn faults_met(error: &str, faults: &[(&str, &str)]) -> (Vec<SystemCall>, bool) {
    let faulted = FaultDisk::start(|_, log| {
        let rules = rules(error, faults);
        let rules: Vec<_> = rules.iter().map(String::as_str).collect();
        let calls: Vec<_> = faults.iter().map(|(calls, _)| *calls).collect();
        record_calls(&calls.join(","), &rules, log)
    });
    faulted.mount_until_linked();
    let is_ordered = faulted.scripted.store.commits_in_order();
    (faulted.injected(error), is_ordered)
}

fn of<'a>(calls: &'a [SystemCall], name: &str) -> Vec<&'a SystemCall> {
    calls
        .iter()
        .filter(|call| call.name.starts_with(name))
        .collect()
}

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tmp")
}

/// Whether this is a file without a name, which the kernel shows as `#` with a number.
fn is_nameless(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"#"))
}

#[test]
fn a_failed_mkdir_sync_or_link_leaves_no_broken_link() {
    needs!("docker-registry", "strace");
    for_each_error(|error, _| {
        let faults = [("mkdirat", "1"), ("fsync", "1"), ("linkat", "1")];
        let (met, is_ordered) = faults_met(error, &faults);
        assert!(!of(&met, "mkdir").is_empty(), "{error}: {met:#?}");
        assert!(!of(&met, "linkat").is_empty(), "{error}: {met:#?}");
        let syncs = of(&met, "fsync");
        assert!(!syncs.is_empty(), "{error}: {met:#?}");
        // Where one sync is enough, it is that of the link's folder.
        let is_expected = |call: &&SystemCall| is_nameless(&call.paths[0]) != is_ordered;
        assert!(syncs.iter().all(is_expected));
    });
}

#[test]
fn a_failed_parent_directory_or_directory_sync_leaves_no_broken_link() {
    needs!("docker-registry", "strace");
    if Store::new(&std::env::temp_dir()).commits_in_order() {
        // There is no second sync, and the case before has the first.
        return;
    }
    for_each_error(|error, _| {
        // The sixth is on the way down again; the second sync is that of the link's folder.
        let (met, _) = faults_met(error, &[("mkdirat", "6"), ("fsync", "2")]);
        let folders = of(&met, "mkdir");
        assert!(!folders.is_empty(), "{error}: {met:#?}");
        let syncs = of(&met, "fsync");
        assert!(!syncs.is_empty(), "{error}: {met:#?}");
        assert!(syncs.iter().all(|call| !is_nameless(&call.paths[0])));
    });
}

/// How many opens below the store its thread had made when it came to the first such one.
fn ordinal(calls: &[SystemCall], is_wanted: fn(&SystemCall) -> bool) -> Option<usize> {
    let thread = |call: &SystemCall| call.line.split(' ').next().map(str::to_owned);
    let at = calls.iter().position(is_wanted)?;
    let own = thread(&calls[at]);
    let before = calls[..=at].iter().filter(|call| thread(call) == own);
    Some(before.count())
}

/// Fails such an open, which is counted among all those that its thread makes below the store.
fn opens_that_fail(is_wanted: fn(&SystemCall) -> bool) {
    let opens = |store: &Store, faults: &[&str], log: &Path| {
        record_calls_at(&[&store.top()], "openat", faults, log)
    };
    let learned = FaultDisk::start(|store, log| opens(store, &[], log));
    learned.mount("target").expect(201);
    let first = ordinal(&recorded_calls(&learned.log), is_wanted).unwrap();
    for_each_error(|error, _| {
        let mut nth = first;
        for _ in 0..ENOUGH {
            let fault = format!("openat:error={error}:when={nth}");
            let faulted = FaultDisk::start(|store, log| opens(store, &[&fault], log));
            faulted.mount("target");
            assert_eq!(faulted.strays(), [""; 0]);
            if faulted.injected(error).iter().any(is_wanted) {
                return;
            }
            nth = ordinal(&recorded_calls(&faulted.log), is_wanted).unwrap_or(first);
        }
        panic!("{error}: no such open was met");
    });
}

#[test]
fn a_file_that_cannot_be_made_leaves_no_broken_link() {
    needs!("docker-registry", "strace");
    opens_that_fail(|call| call.line.contains("O_TMPFILE"));
}

#[test]
fn a_directory_that_cannot_be_opened_for_its_sync_leaves_no_broken_link() {
    needs!("docker-registry", "strace");
    opens_that_fail(|call| {
        call.line.contains("\"repositories/") && call.line.contains("O_DIRECTORY")
    });
}

/// Fails the writes that have a link's length, or what is left of it after `TORN` bytes.
const SHIM: &str = r#"
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
ssize_t write(int file, const void *bytes, size_t count) {
    size_t torn = atoi(getenv("TORN"));
    if (count == 71 && torn > 0) return syscall(SYS_write, file, bytes, torn);
    if (count == 71 - torn) { errno = atoi(getenv("FAULT")); return -1; }
    return syscall(SYS_write, file, bytes, count);
}
"#;

#[test]
fn a_write_that_fails_or_is_torn_leaves_no_broken_link() {
    needs!("docker-registry", "cc");
    let home = tempfile::tempdir().unwrap();
    let (source, shim) = (home.path().join("shim.c"), home.path().join("shim.so"));
    fs::write(&source, SHIM).unwrap();
    let mut compiler = Command::new("cc");
    tools::run(
        compiler
            .args(["-shared", "-fPIC", "-o"])
            .arg(&shim)
            .arg(&source),
    );
    for_each_error(|error, errno| {
        for torn in ["0", "40"] {
            let faulted = FaultDisk::start(|_, _| {
                let mut command = sidecar::command(sidecar::BINARY);
                command.env("LD_PRELOAD", &shim).env("TORN", torn);
                command.env("FAULT", errno.raw_os_error().to_string());
                command
            });
            for target in ["target", "source/below"] {
                faulted.mount(target);
                assert_eq!(faulted.strays(), [""; 0]);
            }
            assert_eq!(
                faulted.sidecar.mounts_with_reason("store_error"),
                2,
                "{error}"
            );
            faulted.sidecar.wait_for_log("write repositories/target/");
        }
    });
}

#[test]
fn a_link_that_is_there_already_and_cannot_be_synced_stays_as_it_is() {
    needs!("docker-registry", "strace");
    for_each_error(|error, _| {
        let fault = format!("fsync:error={error}");
        let faulted = FaultDisk::start(|_, log| record_calls("fsync", &[&fault], log));
        faulted.registry.client().upload("target", BLOB);
        let link = faulted.scripted.store.link("target", &faulted.digest);
        let before = trace_of(&link);
        // The upload that comes next may rename another link into its place.
        faulted.try_mount("target").expect(202);
        assert_eq!(trace_of(&link).inode, before.inode);
        faulted.mount("target").expect(202);
        let met = faulted.injected(error);
        assert!(met[0].paths[0].ends_with("link"), "{met:#?}");
    });
}

#[test]
fn a_file_that_cannot_get_a_name_is_made_anew_with_one() {
    needs!("docker-registry", "strace");
    for error in ["ENOENT", "EPERM", "EOPNOTSUPP"] {
        let faulted = FaultDisk::start(|_, log| {
            let fault = format!("linkat:error={error}");
            record_calls("linkat,renameat2", &[&fault], log)
        });
        faulted.try_mount("target").expect(201);
        assert!(!faulted.injected(error).is_empty());
        assert!(faulted.scripted.store.stray_files().is_empty());
    }
}

/// On a filesystem where a file without a name cannot be made.
#[test]
fn where_every_file_has_a_name_a_failed_call_leaves_no_broken_link() {
    needs!("docker-registry", "strace", "bindfs");
    needs_mounts!();
    for error in ["EIO", "ENOSPC", "EROFS"] {
        let faulted = FaultDisk::of_names_only(|_, log| {
            let rules = rules(error, &[("fsync", "1"), ("linkat", "1")]);
            let rules: Vec<_> = rules.iter().map(String::as_str).collect();
            record_calls("fsync,linkat,unlinkat", &rules, log)
        });
        faulted.mount_until_linked();
        let met = faulted.injected(error);
        let (syncs, links) = (of(&met, "fsync"), of(&met, "linkat"));
        assert!(syncs.iter().any(|call| is_temporary(&call.paths[0])));
        assert!(links.iter().any(|call| is_temporary(&call.paths[0])));
        let removed = recorded_calls(&faulted.log);
        assert!(of(&removed, "unlinkat").len() > links.len() + 1);
    }
}

#[test]
fn a_temporary_file_that_cannot_be_removed_is_no_link() {
    needs!("docker-registry", "strace", "bindfs");
    needs_mounts!();
    for call in ["fsync", "linkat"] {
        let faulted = FaultDisk::of_names_only(|_, log| {
            let faults = ["unlinkat:error=EIO", &format!("{call}:error=EIO")];
            record_calls(&format!("unlinkat,{call}"), &faults, log)
        });
        faulted.mount("target");
        let stray = faulted.strays();
        assert_eq!(stray.len(), 1, "{stray:?}");
        assert!(is_temporary(Path::new(&stray[0])), "{stray:?}");
        let met = faulted.injected("EIO");
        assert_eq!(of(&met, "unlinkat").len(), 1, "{met:#?}");
        assert_eq!(faulted.sidecar.mounted(), 0);
    }
}
