//! What is left after a power cut.

use super::power_cut_filesystems::Kind;
use super::power_cut_findings::Findings;
use super::power_cut_harness::{Promise, Recording};
use super::power_cut_images::CutDisk;
use crate::support::loop_mount::LoopMount;
use crate::support::registry::Registry;
use crate::support::store::Store;
use crate::support::tools;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// The filesystem as it is mounted after the machine's start: the kernel writes back the log, or
/// the filesystem's own program has done so before, as on most machines.
fn after_a_start(file: &Path, place: &Path, kind: Kind, number: u64) -> Result<LoopMount, String> {
    if let Some((program, options)) = kind.replay.split_first()
        && number.is_multiple_of(kind.replay_each)
    {
        let mut command = Command::new(tools::find(program).unwrap());
        let output = command.args(options).arg(file).output().unwrap();
        // 1: it has mended something, such as a file without a name.
        if output.status.code().is_none_or(|code| code > 1) {
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
