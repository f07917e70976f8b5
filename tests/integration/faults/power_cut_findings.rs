//! What is wrong with the disks after power cuts.

use super::power_cut_harness::Promise;
use crate::support::digest_of;
use crate::support::store::Store;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

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

impl Findings {
    pub fn look(&mut self, store: &Store, promises: &[&Promise], about: &str) {
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
        self.all().iter().all(|(_, them)| them.is_empty())
    }

    fn all(&self) -> [(&'static str, &Vec<String>); 6] {
        [
            ("disks that cannot be mounted", &self.unmountable),
            ("folders that cannot be read", &self.unreadable),
            ("mounts lost", &self.lost_mounts),
            ("uploads lost", &self.lost_uploads),
            ("blobs broken", &self.broken_blobs),
            ("links empty or torn", &self.torn),
        ]
    }

    pub fn add(&mut self, other: Self) {
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

    /// The first of each kind.
    pub fn examples(&self) -> Vec<&String> {
        let all = self.all().map(|(_, them)| them.first());
        all.into_iter().flatten().collect()
    }

    /// For a row of the table.
    pub fn told(&self) -> String {
        let mut faults: Vec<_> = self
            .all()
            .iter()
            .filter(|(_, them)| !them.is_empty())
            .map(|(what, them)| format!("{} {what}", them.len()))
            .collect();
        if faults.is_empty() {
            faults.push("nothing lost, no link empty or torn".to_owned());
        }
        let faults = faults.join(", ");
        format!(
            "{faults}; {} answers looked up, each after each cut that it came before; {} links \
             whole that no answer told of; a registry served all of it from {} of the disks",
            self.promised, self.untold, self.served
        )
    }
}
