//! What is synced before a mount is answered, as the kernel saw it.

use crate::{needs, support};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use support::raw_http::Answer;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::{Sidecar, generous_time_budget};
use support::store::Store;
use support::strace::{SystemCall, record_calls, recorded_calls};
use tempfile::TempDir;

const CALLS: &str = "fsync,fdatasync,mkdirat,mkdir,linkat";

/// A sidecar whose syncs are noted, in front of a registry that mounts nothing itself.
struct Watched {
    registry: ScriptedRegistry,
    sidecar: Sidecar,
    log: PathBuf,
    _home: TempDir,
}

/// What one mount synced, by paths below the repositories.
#[derive(Debug, PartialEq, Eq)]
struct Synced {
    before_the_name: Vec<String>,
    after_it: Vec<String>,
}

impl Watched {
    fn start(durability: &str, faults: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("trace");
        let registry = ScriptedRegistry::start(|_| None);
        let sidecar = registry.sidecar_by(record_calls(CALLS, faults, &log), |config| {
            config["store"]["durability"] = durability.into();
            generous_time_budget(config);
        });
        Self {
            registry,
            sidecar,
            log,
            _home: home,
        }
    }

    /// Mounts a blob, and gives its digest, the answer, and the calls that came before the answer.
    fn mount(&self, target: &str, blob: &str) -> (String, Answer, Vec<SystemCall>) {
        let digest = self.registry.plant("source", blob.as_bytes());
        let before = recorded_calls(&self.log).len();
        let client = self.sidecar.client();
        let answer = client.mount(target, &digest, "source");
        let calls = recorded_calls(&self.log).split_off(before);
        (digest, answer, calls)
    }

    /// Mounts a blob by a new link, and gives its digest and what was synced for it.
    #[track_caller]
    fn link(&self, target: &str, blob: &str) -> (String, Synced) {
        let already = self.sidecar.mounted();
        let (digest, answer, calls) = self.mount(target, blob);
        answer.expect(201);
        assert_eq!(self.sidecar.mounted(), already + 1);
        let synced = self.synced(&calls);
        (digest, synced)
    }

    #[track_caller]
    fn synced(&self, calls: &[SystemCall]) -> Synced {
        let names: Vec<_> = calls
            .iter()
            .enumerate()
            .filter(|(_, call)| call.name == "linkat")
            .map(|(at, _)| at)
            .collect();
        assert_eq!(names.len(), 1, "{calls:#?}");
        Synced {
            before_the_name: self.syncs(&calls[..names[0]]),
            after_it: self.syncs(&calls[names[0]..]),
        }
    }

    fn syncs(&self, calls: &[SystemCall]) -> Vec<String> {
        let repositories = self.registry.store.top().join("repositories");
        let repositories = repositories.canonicalize().unwrap();
        let mut syncs: Vec<_> = calls
            .iter()
            .filter(|call| ["fsync", "fdatasync"].contains(&&*call.name))
            .map(|call| {
                let path = call.paths[0].strip_prefix(&repositories);
                short(path.unwrap_or_else(|_| panic!("{}", call.line)))
            })
            .collect();
        syncs.sort();
        syncs
    }
}

/// A path in which the number of a file without a name is always the same. The kernel shows it as
/// `#` with a number, and as deleted.
fn short(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with('#') {
        return path.with_file_name("nameless").display().to_string();
    }
    path.display().to_string()
}

/// The folder that holds the link of this digest.
fn leaf(repository: &str, digest: &str) -> String {
    format!("{repository}/_layers/{}", digest.replace(':', "/"))
}

fn sorted(paths: &[&str]) -> Vec<String> {
    let mut paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
    paths.sort();
    paths
}

/// The link's file before it has its name, then its folder and these others. Its folder alone, if
/// one sync commits all that was done before it.
fn file_then(store: &Store, leaf: &str, folders: &[&str]) -> Synced {
    if store.commits_in_order() {
        return Synced {
            before_the_name: Vec::new(),
            after_it: vec![leaf.to_owned()],
        };
    }
    Synced {
        before_the_name: vec![format!("{leaf}/nameless")],
        after_it: sorted(&[&[leaf], folders].concat()),
    }
}

/// Every folder above the link's own in a new repository `a/b`, the repositories' own first.
const ALL_OF_A_B: &[&str] = &["", "a", "a/b", "a/b/_layers", "a/b/_layers/sha256"];

#[test]
fn in_full_the_link_and_every_new_directory_are_synced_before_the_response() {
    needs!("strace");
    let watched = Watched::start("full", &[]);
    let store = &watched.registry.store;
    let (digest, synced) = watched.link("a/b", "one");
    assert_eq!(synced, file_then(store, &leaf("a/b", &digest), ALL_OF_A_B));

    let (digest, synced) = watched.link("a/b", "two");
    let only = &["a/b/_layers/sha256"];
    assert_eq!(synced, file_then(store, &leaf("a/b", &digest), only));

    let (digest, synced) = watched.link("a/c", "two");
    let fewer = &["a", "a/c", "a/c/_layers", "a/c/_layers/sha256"];
    assert_eq!(synced, file_then(store, &leaf("a/c", &digest), fewer));
}

#[test]
fn in_file_only_the_links_own_bytes_are_synced() {
    needs!("strace");
    let watched = Watched::start("file", &[]);
    for (target, blob) in [("a/b", "one"), ("a/b", "two"), ("c", "two")] {
        let (digest, synced) = watched.link(target, blob);
        let only = Synced {
            before_the_name: vec![format!("{}/nameless", leaf(target, &digest))],
            after_it: Vec::new(),
        };
        assert_eq!(synced, only);
    }
}

#[test]
fn in_none_nothing_is_synced() {
    needs!("strace");
    let watched = Watched::start("none", &[]);
    for (target, blob) in [("a/b", "one"), ("a/b", "two"), ("c", "two")] {
        let (_, synced) = watched.link(target, blob);
        let nothing = Synced {
            before_the_name: Vec::new(),
            after_it: Vec::new(),
        };
        assert_eq!(synced, nothing);
    }
}

#[test]
fn the_directories_of_a_failed_mount_are_synced_by_the_next_one() {
    needs!("strace");
    // The link's file, its folder, the folder above.
    for nth in 1..=3 {
        let fault = format!("fsync:error=ENOSPC:when={nth}");
        let watched = Watched::start("full", &[&fault]);
        if nth > 1 && watched.registry.store.commits_in_order() {
            // There the first sync is the only one.
            break;
        }
        let (_, answer, calls) = watched.mount("a/b", "fails");
        answer.expect(202);
        assert!(calls.iter().any(|call| call.line.contains("INJECTED")));
        assert!(watched.registry.store.repository("a/b").exists());
        let mut failed = 1;
        // The fault is counted for each thread on its own, and a job may meet a fresh one.
        let (digest, calls) = loop {
            let (digest, answer, calls) = watched.mount("a/b", &format!("after {failed}"));
            if answer.status == 201 {
                break (digest, calls);
            }
            answer.expect(202);
            failed += 1;
            assert!(failed < 100, "no mount succeeds");
        };
        assert_eq!(watched.sidecar.mounts("forwarded", "store_error"), failed);
        assert_eq!(watched.sidecar.mounted(), 1);
        let wanted = file_then(&watched.registry.store, &leaf("a/b", &digest), ALL_OF_A_B);
        assert_eq!(watched.synced(&calls), wanted, "{fault}");
    }
}

#[test]
fn a_young_link_of_another_process_is_synced_before_it_is_confirmed() {
    needs!("strace");
    for durability in ["full", "file", "none"] {
        let watched = Watched::start(durability, &[]);
        let store = &watched.registry.store;
        let digest = support::digest_of(b"there");
        store.plant_link("a/b", &digest, &digest);
        let leaf = leaf("a/b", &digest);
        let link = format!("{leaf}/link");
        let wanted = match durability {
            "full" if store.commits_in_order() => sorted(&[&leaf, &link]),
            "full" => sorted(&[ALL_OF_A_B, &[&leaf, &link]].concat()),
            "file" => vec![link],
            _ => Vec::new(),
        };
        let (_, answer, calls) = watched.mount("a/b", "there");
        answer.expect(201);
        assert_eq!(watched.syncs(&calls), wanted, "{durability}");

        // What was written long ago has reached the disk by itself.
        let link = File::options().write(true).open(store.link("a/b", &digest));
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        link.unwrap().set_modified(long_ago).unwrap();
        let (_, answer, calls) = watched.mount("a/b", "there");
        answer.expect(201);
        assert_eq!(watched.syncs(&calls), [""; 0], "{durability}");
        assert_eq!(watched.sidecar.mounts("already_linked", "none"), 2);
        assert_eq!(watched.sidecar.mounted(), 0);
    }
}
