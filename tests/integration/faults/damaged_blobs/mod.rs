//! Blobs whose bytes are not what their digest says, with `store.verify: sha256`.

mod changes_while_hashing;
mod detection;
mod registry_restart;
mod verify_cache;

use crate::support;
use serde_json::Value;
use std::fs::File;
use std::os::unix::fs::FileExt;
use support::discovery::discover_on_head;
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;
use support::store::Store;
use support::wait_until;

/// Long enough for more than one piece.
pub const SIZE: usize = 300_000;

pub fn verify_blobs(config: &mut Value) {
    config["store"]["verify"] = "sha256".into();
}

pub fn discovering(config: &mut Value) {
    verify_blobs(config);
    discover_on_head(config);
}

/// In front of this registry, with its store proved.
pub fn verifying(registry: &Registry, change: fn(&mut Value)) -> Sidecar {
    let sidecar = Sidecar::with(registry, change);
    sidecar.verify_store();
    sidecar
}

pub fn hashed(sidecar: &Sidecar, result: &str) -> u64 {
    whole(sidecar.metric("crossmount_verified_blobs_total", &[("result", result)]))
}

pub fn waiting(sidecar: &Sidecar) -> u64 {
    whole(sidecar.metric("crossmount_verify_queue_length", &[]))
}

/// The digests that the log calls damaged, once there are so many: lines come later than what is
/// counted.
#[track_caller]
pub fn alarms(sidecar: &Sidecar, wanted: u64) -> Vec<String> {
    let mut found = Vec::new();
    wait_until(&format!("the log names {wanted} blobs"), || {
        let is_alarm = |line: &&Value| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == "ERROR" && message == "blob damaged"
        };
        found = sidecar
            .log_lines()
            .iter()
            .filter(is_alarm)
            .map(|line| line["digest"].as_str().unwrap().to_owned())
            .collect();
        found.len() as u64 >= wanted
    });
    assert_eq!(found.len() as u64, wanted, "{found:?}");
    found
}

/// Waits until the log says something.
pub fn wait_for_log(sidecar: &Sidecar, words: &str) {
    wait_until(words, || sidecar.log().contains(words));
}

/// Mounts once, so that the blob is hashed, and waits for what comes of it.
pub fn mount_until(sidecar: &Sidecar, digest: &str, result: &str) {
    let before = hashed(sidecar, result);
    sidecar.client().mount("first", digest, "source");
    wait_until(&format!("the blob is {result}"), || {
        hashed(sidecar, result) > before
    });
}

/// How the bytes of a file go bad.
#[derive(Debug, Clone, Copy)]
pub enum Damage {
    Flipped,
    Truncated,
    Longer,
}

impl Damage {
    pub const ALL: [Self; 3] = [Self::Flipped, Self::Truncated, Self::Longer];

    fn bytes(self, bytes: &[u8], at: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Flipped => bytes[at] ^= 1,
            Self::Truncated => bytes.truncate(at.max(1)),
            Self::Longer => bytes.push(0),
        }
        bytes
    }

    /// In the file itself, as a disk or a half-written copy does it.
    pub fn happens_to(self, store: &Store, digest: &str, bytes: &[u8], at: usize) {
        let file = File::options().write(true).open(store.data(digest));
        let (file, damaged) = (file.unwrap(), self.bytes(bytes, at));
        file.set_len(damaged.len() as u64).unwrap();
        if let Self::Truncated = self {
            return;
        }
        file.write_all_at(&damaged, 0).unwrap();
    }
}
