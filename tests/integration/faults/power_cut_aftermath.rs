//! What is left after a power cut.

use super::power_cut_harness::{Kind, Promise, Recording};
use super::power_cut_images::CutDisk;
use crate::support::digest_of;
use crate::support::recording_disk::LoopMount;
use crate::support::registry::Registry;
use crate::support::store::Store;
use serde_json::json;
use std::fs;
use std::path::Path;
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
    /// Links of which a client was told, by mounts.
    pub lost_mounts: Vec<String>,
    /// The same, by uploads.
    pub lost_uploads: Vec<String>,
    /// Links that are there with other bytes than their digest, told of or not.
    pub torn: Vec<String>,
    /// Blobs of which a client was told, that are not there or not whole.
    pub broken_blobs: Vec<String>,
}

const AT_ONCE: usize = 3;

impl Recording {
    /// Looks at the disk after each of `count` cuts, and starts a registry on each `serve`th.
    pub fn cut(&self, kind: Kind, count: usize, serve: u64) -> Findings {
        let cuts = Mutex::new(self.cuts(count, kind));
        let number = AtomicU64::new(0);
        let findings = Mutex::new(Findings::default());
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
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
        match LoopMount::of(&file, place.path(), kind.options) {
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
            let blob = fs::read(store.data(digest));
            if !blob.is_ok_and(|bytes| digest_of(&bytes) == *digest) {
                self.broken_blobs.push(format!("{digest}, {about}"));
            }
        }
        for file in store.files() {
            if let Some(folder) = file.strip_suffix("/link")
                && let Some((before, digest)) = folder.split_once("/_layers/")
            {
                let digest = digest.replace('/', ":");
                let content = fs::read(store.root.join(&file));
                let target = before.rsplit_once("/repositories/").unwrap().1;
                let is_it =
                    |promise: &&&Promise| promise.target == target && promise.digest == digest;
                if !content.as_ref().is_ok_and(|it| it == digest.as_bytes()) {
                    self.torn.push(format!("{file}: {content:?}, {about}"));
                } else if target.starts_with("to/") && promises.iter().find(is_it).is_none() {
                    self.untold += 1;
                }
            }
        }
    }

    pub fn is_clean(&self) -> bool {
        let all = [
            &self.unmountable,
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
        self.lost_mounts.extend(other.lost_mounts);
        self.lost_uploads.extend(other.lost_uploads);
        self.torn.extend(other.torn);
        self.broken_blobs.extend(other.broken_blobs);
    }

    /// For a row of the table.
    pub fn told(&self) -> String {
        format!(
            "{} answers before the cuts: {} mounts and {} uploads lost, {} of their blobs broken; {} \
             links empty or torn; {} links whole that no answer told of; a registry served all of it \
             on {} of the disks",
            self.promised,
            self.lost_mounts.len(),
            self.lost_uploads.len(),
            self.broken_blobs.len(),
            self.torn.len(),
            self.untold,
            self.served
        )
    }
}

/// A registry starts on the disk, and serves each blob of which a client was told.
fn serve(root: &Path, promises: &[&Promise]) {
    let registry =
        Registry::with(|config| config["storage"]["filesystem"]["rootdirectory"] = json!(root));
    for promise in promises {
        registry.client().pull(&promise.target, &promise.digest);
    }
}
