//! What is left after a power cut.

use super::power_cut_filesystems::Kind;
use super::power_cut_harness::{Promise, Recording};
use super::power_cut_images::CutDisk;
use crate::support::digest_of;
use crate::support::recording_disk::LoopMount;
use crate::support::registry::Registry;
use crate::support::store::Store;
use crate::support::tools;
use serde_json::json;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Cuts at which something is not as it should be, with what it is.
#[derive(Debug, Default)]
pub struct Findings {
    pub cuts: u64,
    pub promised: u64,
    /// Links that no answer told of.
    pub untold: u64,
    /// On how many of the disks a registry was started.
    pub served: u64,
    pub unmountable: Vec<String>,
    /// Folders that cannot be read.
    pub unreadable: Vec<String>,
    /// Links of which a client was told, by mounts.
    pub lost_mounts: Vec<String>,
    /// The same, by uploads.
    pub lost_uploads: Vec<String>,
    /// Links that are there with other bytes than their digest, told of or not.
    pub torn: Vec<String>,
    /// Blobs of which a client was told, that are not there or not whole.
    pub broken_blobs: Vec<String>,
}

impl Recording {
    /// Looks at the disk after each of `count` cuts, and starts a registry on each `serve`th.
    pub fn cut(&self, kind: Kind, count: usize, serve: u64) -> Findings {
        let cuts = Mutex::new(self.cuts(count, kind));
        let number = AtomicU64::new(0);
        let findings = Mutex::new(Findings::default());
        std::thread::scope(|scope| {
            for _ in 0..kind.at_once {
                scope.spawn(|| {
                    loop {
                        let next = cuts.lock().unwrap().next();
                        let Some(cut) = next else { break };
                        let number = number.fetch_add(1, Ordering::Relaxed);
                        self.look_at(cut, kind, number, number % serve == serve / 2, &findings);
                    }
                });
            }
        });
        findings.into_inner().unwrap()
    }

    fn look_at(
        &self,
        cut: CutDisk,
        kind: Kind,
        number: u64,
        is_served: bool,
        findings: &Mutex<Findings>,
    ) {
        let CutDisk {
            image,
            marks,
            about,
        } = cut;
        // The recorded disk has number 2.
        let number = number + 3;
        let file = self.folder.put(number, image);
        let place = tempfile::tempdir().unwrap();
        let promises: Vec<_> = marks.iter().map(|mark| &self.promises[*mark]).collect();
        let mut found = Findings::default();
        match after_a_start(&file, place.path(), kind, number) {
            Ok(disk) => {
                let root = place.path().join("root");
                found.look(&Store::new(&root), &promises, &about);
                if is_served && found.is_clean() {
                    serve(&root, &promises);
                    found.served = 1;
                }
                drop(disk);
            }
            Err(error) => found.unmountable.push(format!("{about}: {error}")),
        }
        self.folder.remove(number);
        findings.lock().unwrap().add(found);
    }
}

impl Findings {
    fn look(&mut self, store: &Store, promises: &[&Promise], about: &str) {
        self.cuts = 1;
        self.promised = promises.len() as u64;
        for promise in promises {
            let Promise {
                target,
                digest,
                is_upload,
            } = promise;
            let link = fs::read(store.link(target, digest));
            if !link.as_ref().is_ok_and(|it| it == digest.as_bytes()) {
                let what = format!("{target} {digest}: {link:?}, {about}");
                let lost = if *is_upload {
                    &mut self.lost_uploads
                } else {
                    &mut self.lost_mounts
                };
                lost.push(what);
            }
        }
        let digests: BTreeSet<_> = promises.iter().map(|promise| &promise.digest).collect();
        for digest in digests {
            let blob = fs::read(store.data(digest));
            if !blob.is_ok_and(|bytes| digest_of(&bytes) == *digest) {
                self.broken_blobs.push(format!("{digest}, {about}"));
            }
        }
        let told: BTreeSet<_> = promises
            .iter()
            .map(|promise| store.link(&promise.target, &promise.digest))
            .collect();
        for link in self.links(store, about) {
            let folder = link.parent().unwrap().to_string_lossy().into_owned();
            let (target, digest) = folder.split_once("/_layers/").unwrap();
            let content = fs::read(&link);
            if !content
                .as_ref()
                .is_ok_and(|it| *it == digest.replace('/', ":").as_bytes())
            {
                self.torn
                    .push(format!("{target} {digest}: {content:?}, {about}"));
            } else if target.contains("/repositories/to/") && !told.contains(&link) {
                self.untold += 1;
            }
        }
    }

    /// The layer links of all repositories. A filesystem may be so broken that not all can be seen.
    fn links(&mut self, store: &Store, about: &str) -> Vec<PathBuf> {
        let (mut links, mut open) = (Vec::new(), vec![store.repository("")]);
        while let Some(folder) = open.pop() {
            let entries = fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let entries = entries.unwrap_or_else(|error| {
                self.unreadable
                    .push(format!("{}: {error}, {about}", folder.display()));
                Vec::new()
            });
            for entry in entries {
                let path = entry.path();
                if path.file_name() == Some(OsStr::new("link"))
                    && folder.to_string_lossy().contains("/_layers/")
                {
                    links.push(path);
                } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(path);
                }
            }
        }
        links
    }

    pub fn is_clean(&self) -> bool {
        let all = [
            &self.unmountable,
            &self.unreadable,
            &self.lost_mounts,
            &self.lost_uploads,
            &self.torn,
            &self.broken_blobs,
        ];
        all.iter().all(|them| them.is_empty())
    }

    fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.promised += other.promised;
        self.untold += other.untold;
        self.served += other.served;
        self.unmountable.extend(other.unmountable);
        self.unreadable.extend(other.unreadable);
        self.lost_mounts.extend(other.lost_mounts);
        self.lost_uploads.extend(other.lost_uploads);
        self.torn.extend(other.torn);
        self.broken_blobs.extend(other.broken_blobs);
    }

    /// For a row of the table.
    pub fn told(&self) -> String {
        let faults = [
            ("disks that cannot be mounted", &self.unmountable),
            ("folders that cannot be read", &self.unreadable),
            ("mounts lost", &self.lost_mounts),
            ("uploads lost", &self.lost_uploads),
            ("blobs broken", &self.broken_blobs),
            ("links empty or torn", &self.torn),
        ];
        let faults: String = faults
            .iter()
            .filter(|(_, them)| !them.is_empty())
            .map(|(what, them)| format!("{} {what}; ", them.len()))
            .collect();
        let faults = if faults.is_empty() {
            "nothing lost, no link empty or torn; "
        } else {
            &faults
        };
        format!(
            "{faults}of {} answers that came before their cut, each counted for each cut, and {} \
             more links; a registry served all of it on {} of the disks",
            self.promised, self.untold, self.served
        )
    }
}

/// The filesystem as it is mounted after the machine's start: the kernel writes back the log, or
/// the filesystem's own program has done so before, as on most machines.
fn after_a_start(file: &Path, place: &Path, kind: Kind, number: u64) -> Result<LoopMount, String> {
    if let Some((program, options)) = kind.replay.split_first()
        && number.is_multiple_of(kind.replay_each)
    {
        let mut command = Command::new(tools::find(program).unwrap());
        let output = command.args(options).arg(file).output().unwrap();
        // 1: it has mended something, such as a file without a name.
        if !output.status.code().is_some_and(|code| code <= 1) {
            return Err(String::from_utf8_lossy(&output.stdout).into_owned());
        }
    }
    LoopMount::of(file, place, kind.options)
}

/// A registry starts on the disk, and serves each blob of which a client was told.
fn serve(root: &Path, promises: &[&Promise]) {
    let registry =
        Registry::with(|config| config["storage"]["filesystem"]["rootdirectory"] = json!(root));
    for promise in promises {
        registry.client().pull(&promise.target, &promise.digest);
    }
}
