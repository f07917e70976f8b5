//! A registry, with crossmount in front of it or alone, whose store lies on a disk that records
//! what it is told to write.

use super::crash_harness::Random;
use super::power_cut_filesystems::Kind;
use super::power_cut_images::CutDisks;
use crate::support::discovery::discover_on_head;
use crate::support::recording_disk::{DiskFolder, Event, LoopMount};
use crate::support::registry::Registry;
use crate::support::registry_client::Client;
use crate::support::sidecar::{Sidecar, generous_time_budget};
use crate::support::sparse_image::SparseImage;
use crate::support::store::Store;
use crate::support::{bytes_from, tools};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use tempfile::TempDir;

const SIZE: usize = 512 << 20;
const CLIENTS: usize = 4;
const BLOBS: usize = 6;
const SOURCE: &str = "source";
/// The number of the disk that is recorded.
const RECORDED: u64 = 2;

/// Which program answers the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// crossmount, with this durability. Clients mount, and ask for layers by HEAD.
    Crossmount(&'static str),
    /// The registry without crossmount. Clients mount and upload.
    Registry,
}

/// What a client was told: this repository has this blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Promise {
    pub target: String,
    pub digest: String,
    pub is_upload: bool,
}

/// All that was written, and all that was told.
pub struct Recording {
    pub folder: DiskFolder,
    pub promises: Vec<Promise>,
    pub image: SparseImage,
    pub events: Vec<Event>,
}

impl Recording {
    /// What `CLIENTS` clients do at once, `each` of them so many steps.
    pub fn make(kind: Kind, writer: Writer, each: usize) -> Self {
        let folder = DiskFolder::mount();
        let file = folder.put(RECORDED, SparseImage::of_size(SIZE));
        tools::run(
            Command::new(tools::find(kind.make[0]).unwrap())
                .args(&kind.make[1..])
                .arg(&file),
        );
        let place = tempfile::tempdir().unwrap();
        let disk = LoopMount::of(&file, place.path(), kind.options).unwrap();
        let (registry, sidecar) = start(disk, &place, writer);
        let client = sidecar
            .as_ref()
            .map_or_else(|| registry.served.client(), Sidecar::client);
        let blobs = (0..BLOBS).map(|at| bytes_from(&format!("blob {at}"), 3000));
        let digests: Vec<_> = blobs.map(|blob| client.upload(SOURCE, &blob)).collect();
        if let Some(sidecar) = &sidecar {
            sidecar.verify_store();
            sidecar.wait_for_scan();
        }
        tools::run(Command::new("sync").arg("-f").arg(place.path()));
        let image = folder.begin_recording(RECORDED);
        let before = sidecar.as_ref().map(Sidecar::mounted);
        let told = Told {
            folder: &folder,
            promises: Mutex::default(),
        };
        std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (told, client, digests) = (&told, &client, digests.as_slice());
                scope.spawn(move || told.run(number, each, client, digests, writer));
            }
        });
        let promises = told.promises.into_inner().unwrap();
        if let Some((sidecar, before)) = sidecar.as_ref().zip(before) {
            // By crossmount, and none by the registry.
            let made = sidecar.mounted() - before + sidecar.mounts("already_linked", "none");
            assert!(
                made > promises.len() as u64 / 2,
                "{:?}",
                sidecar.all_mounts()
            );
            assert_eq!(sidecar.mounts_with_reason("store_error"), 0);
        }
        drop((sidecar, registry));
        let events = folder.end_recording(RECORDED);
        Self {
            folder,
            promises,
            image,
            events,
        }
    }

    pub fn cuts(&self, count: usize, kind: Kind) -> CutDisks {
        let random = Random::from_seed();
        CutDisks::new(
            self.image.clone(),
            self.events.clone(),
            count,
            kind.unit,
            random,
        )
    }

    pub fn count(&self, is_it: fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| is_it(event)).count()
    }
}

/// The registry ends before its disk is taken away.
struct OnDisk {
    served: Registry,
    _disk: LoopMount,
}

fn start(disk: LoopMount, place: &TempDir, writer: Writer) -> (OnDisk, Option<Sidecar>) {
    let root: PathBuf = place.path().join("root");
    let mut registry =
        Registry::prepared(|config| config["storage"]["filesystem"]["rootdirectory"] = json!(root));
    registry.store = Store::new(&root);
    registry.resume();
    // A scan of a store without repositories is made again half a minute later.
    registry.client().upload(SOURCE, b"first");
    let sidecar = match writer {
        Writer::Registry => None,
        Writer::Crossmount(durability) => Some(Sidecar::with(&registry, |config| {
            discover_on_head(config);
            generous_time_budget(config);
            config["store"]["durability"] = durability.into();
        })),
    };
    let registry = OnDisk {
        served: registry,
        _disk: disk,
    };
    (registry, sidecar)
}

struct Told<'a> {
    folder: &'a DiskFolder,
    promises: Mutex<Vec<Promise>>,
}

impl Told<'_> {
    /// Every other step is the same as of all other clients; a repository takes three blobs.
    fn run(&self, number: usize, each: usize, client: &Client, digests: &[String], writer: Writer) {
        for at in 0..each {
            let whose = if at % 2 == 0 { CLIENTS } else { number };
            let target = format!("to/of{whose}/target{}", at / 6);
            let digest = &digests[at % digests.len()];
            let mut promise = Promise {
                target,
                digest: digest.clone(),
                is_upload: false,
            };
            match writer {
                Writer::Registry if at % 4 == 3 => {
                    let bytes = bytes_from(&format!("upload {number} {at}"), 3000);
                    promise.digest = client.upload(&promise.target, &bytes);
                    promise.is_upload = true;
                }
                Writer::Crossmount(_) if at % 8 == 3 => {
                    client.head_blob(&promise.target, digest).expect(200);
                }
                _ => {
                    client.mount(&promise.target, digest, SOURCE).expect(201);
                }
            }
            let mut promises = self.promises.lock().unwrap();
            self.folder.mark(RECORDED, promises.len());
            promises.push(promise);
        }
    }
}
