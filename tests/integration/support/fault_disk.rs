//! The sidecar over a disk with injected faults, and what must hold after each mount.

use super::filesystems::FuseFilesystem;
use super::raw_http::Answer;
use super::registry::Registry;
use super::scripted_registry::ScriptedRegistry;
use super::sidecar::Sidecar;
use super::store::Store;
use super::strace::{SystemCall, recorded_calls};
use crate::support::sidecar::generous_time_budget;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub const BLOB: &[u8] = b"a blob whose link meets a fault";
/// Enough for a fault that is counted for each thread on its own.
pub const ENOUGH: usize = 30;

/// A sidecar that meets faults, between a registry that mounts nothing itself and the store of
/// a real one, which would make a broken link whole again unseen.
pub struct FaultDisk {
    pub sidecar: Sidecar,
    pub scripted: ScriptedRegistry,
    pub registry: Registry,
    /// A blob in `source`.
    pub digest: String,
    /// Strace's notes.
    pub log: PathBuf,
    _seen: Option<FuseFilesystem>,
    _home: TempDir,
}

impl FaultDisk {
    /// `command` gets the store and the file for strace's notes.
    pub fn start(command: impl FnOnce(&Store, &Path) -> Command) -> Self {
        Self::over(ScriptedRegistry::start(|_| None), None, command)
    }

    /// The same where every file has a name.
    pub fn of_names_only(command: impl FnOnce(&Store, &Path) -> Command) -> Self {
        let (seen, store, home) = FuseFilesystem::of_names_only();
        let scripted = ScriptedRegistry::over(store, home, |_| None);
        Self::over(scripted, Some(seen), command)
    }

    fn over(
        scripted: ScriptedRegistry,
        seen: Option<FuseFilesystem>,
        command: impl FnOnce(&Store, &Path) -> Command,
    ) -> Self {
        let root = scripted.store.root.clone();
        let registry =
            Registry::with(|config| config["storage"]["filesystem"]["rootdirectory"] = json!(root));
        let digest = registry.client().upload("source", BLOB);
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("trace");
        let sidecar = scripted.sidecar_by(command(&scripted.store, &log), generous_time_budget);
        Self {
            sidecar,
            scripted,
            registry,
            digest,
            log,
            _seen: seen,
            _home: home,
        }
    }

    /// One mount, and no upload in its place.
    #[track_caller]
    pub fn try_mount(&self, target: &str) -> Answer {
        let answer = self.sidecar.client().mount(target, &self.digest, "source");
        self.links_are_whole();
        answer
    }

    /// One mount, after which the client gets the blob there whatever the disk did.
    #[track_caller]
    pub fn mount(&self, target: &str) -> Answer {
        let answer = self.try_mount(target);
        let registry = self.registry.client();
        match answer.status {
            201 => assert!(answer.location_path().ends_with(&self.digest)),
            202 => drop(registry.upload(target, BLOB)),
            _ => panic!("{answer:?}"),
        }
        assert_eq!(registry.pull(target, &self.digest), BLOB, "{target}");
        answer
    }

    /// Every link that can be seen holds the 71 bytes of its own digest.
    #[track_caller]
    pub fn links_are_whole(&self) {
        for file in self.scripted.store.files() {
            if let Some(folder) = file.strip_suffix("/link")
                && let Some((_, digest)) = folder.split_once("/_layers/")
            {
                let content = fs::read_to_string(self.scripted.store.root.join(&file)).unwrap();
                assert_eq!(content, digest.replace('/', ":"), "{file}");
            }
        }
    }

    pub fn strays(&self) -> Vec<String> {
        self.scripted.store.stray_files()
    }

    /// The calls that strace made fail in this way.
    pub fn injected(&self, error: &str) -> Vec<SystemCall> {
        let mut calls = recorded_calls(&self.log);
        calls.retain(|call| call.line.contains(error) && call.line.ends_with("(INJECTED)"));
        calls
    }

    /// Mounts into one new repository after the other until the sidecar itself has linked.
    #[track_caller]
    pub fn mount_until_linked(&self) {
        for at in 0..ENOUGH {
            self.mount(&format!("new{at}/target"));
            assert_eq!(self.strays(), [""; 0]);
            if self.sidecar.mounted() > 0 {
                assert!(at > 0, "no mount met a fault");
                return;
            }
        }
        panic!("nothing was linked: {:?}", self.sidecar.all_mounts());
    }
}
