//! What a killed sidecar has left: whole links, temporary files of its own, and nothing else.

use super::crash_harness::{CrashHarness, Pair};
use crate::support::discovery::discover_on_head;
use crate::support::sidecar::{self, Sidecar};
use crate::support::store::{Store, set_times};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

impl CrashHarness {
    pub fn look_at(&mut self, received: &BTreeSet<Pair>) {
        let (links, left) = self.links_and_leftovers(self.rounds);
        for (target, digest) in received {
            let pair = (target.clone(), digest.clone());
            assert!(links.contains(&pair), "{target} was told of {digest}");
            self.registry.client().pull(target, digest);
        }
        self.tally.received += received.len() as u64;
        self.tally.unanswered += self.unanswered.len() as u64;
        self.tally.untold += links.difference(received).count() as u64;
        self.tally.left += left;
    }

    /// Of what a round has left: its links, each of them whole, and how many temporary files.
    fn links_and_leftovers(&self, round: usize) -> (BTreeSet<Pair>, u64) {
        let round = format!("round{round}");
        let (mut links, mut left) = (BTreeSet::new(), 0);
        let place = self.store().repository(&round);
        for file in Store::new(&place).files() {
            let Some((target, digest, name)) = parts(&file) else {
                panic!("{file} is neither a link nor beside one");
            };
            match name {
                "link" => {
                    let content = fs::read_to_string(place.join(&file)).unwrap();
                    assert_eq!(content, digest, "{file}");
                    links.insert((format!("{round}/{target}"), digest));
                }
                name => {
                    assert!(is_ours(name), "{file}");
                    left += 1;
                }
            }
        }
        (links, left)
    }

    /// What earlier rounds have left is as good as it was, whatever came later.
    pub fn all_is_whole(&self) {
        for round in 0..self.rounds {
            self.links_and_leftovers(round);
        }
    }

    /// All that lies in the store but what the rounds are about, files with their bytes.
    pub fn elsewhere(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let rounds = self.store().repository("round");
        let is_round = |path: &Path| {
            let name = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"round"));
            path.parent() == rounds.parent() && name
        };
        let (mut found, mut open) = (BTreeMap::new(), vec![self.store().root.clone()]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if is_round(&path) {
                    continue;
                }
                if path.is_dir() {
                    open.push(path.clone());
                }
                found.insert(path.clone(), fs::read(path).ok());
            }
        }
        found
    }

    /// The walk takes those leftovers that are old, and touches nothing else.
    pub fn walk_takes_what_is_old(&self) {
        let left = self.scripted.store.stray_files();
        let (old, young): (Vec<_>, Vec<_>) =
            left.iter().enumerate().partition(|(at, _)| at % 2 == 0);
        for half in [old, young] {
            let half: Vec<_> = half.into_iter().map(|(_, file)| file).collect();
            for file in &half {
                make_old(&self.scripted.store.root.join(file));
            }
            let mut wanted = self.scripted.store.files();
            wanted.retain(|file| !half.contains(&file));
            self.walk();
            assert_eq!(self.scripted.store.files(), wanted);
        }
        assert_eq!(self.scripted.store.stray_files(), [""; 0]);
    }

    fn walk(&self) {
        let mut config = sidecar::config(&self.scripted.upstream.url(), &self.scripted.store.root);
        discover_on_head(&mut config);
        let sidecar = Sidecar::from(&config);
        sidecar.wait_for_scan();
    }
}

fn make_old(file: &Path) {
    let hours = Duration::from_secs(2 * 60 * 60);
    set_times(file, SystemTime::now() - hours);
}

/// `<target>/_layers/sha256/<hex>/<name>` as target, digest and name.
fn parts(file: &str) -> Option<(&str, String, &str)> {
    let (target, rest) = file.split_once("/_layers/")?;
    let (folder, name) = rest.rsplit_once('/')?;
    Some((target, folder.replace('/', ":"), name))
}

/// Whether a file has the name of our temporary files.
fn is_ours(name: &str) -> bool {
    let id = name.strip_prefix("link.crossmount.");
    let id = id.and_then(|rest| rest.strip_suffix(".tmp"));
    id.is_some_and(|id| Uuid::try_parse(id).is_ok())
}
