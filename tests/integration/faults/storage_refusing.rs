//! A volume that takes no writes for a while: no more room, read-only, or somebody else's.

use super::volume::Volume;
use crate::support::figures;
use crate::support::filesystems::MountedFilesystem;
use crate::{needs, needs_mounts};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

/// Nobody whom this machine knows.
const USER: u32 = 61_234;

fn in_memory(options: &str) -> Volume {
    Volume::on(|registry| MountedFilesystem::in_memory(&registry.store.root, options))
}

type Fill = fn(&Path);

/// Writes until there is no more room for a byte.
fn fill_with_bytes(place: &Path) {
    let mut file = File::create(place).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Makes files until there is no more room for a name.
fn fill_with_names(place: &Path) {
    fs::create_dir(place).unwrap();
    let mut made = 0;
    while File::create(place.join(made.to_string())).is_ok() {
        made += 1;
    }
}

fn remove(place: &Path) {
    let removed = fs::remove_file(place).or_else(|_| fs::remove_dir_all(place));
    removed.unwrap();
}

/// Does something to the volume, undoes it, and wants mounts to be as by the registry alone
/// meanwhile, and the sidecar's own again after it. Both get the name below which is mounted.
fn comes_and_goes(
    volume: &Volume,
    tried: &str,
    mut begin: impl FnMut(&Volume, &str),
    mut end: impl FnMut(&Volume, &str),
) {
    let (times, mounts) = (figures::amount(2, 20), figures::amount(5, 20));
    volume.mounts_itself("first");
    let mut answers = std::collections::BTreeMap::new();
    for time in 0..times {
        let below = format!("bad{time}");
        begin(volume, &below);
        for _ in 0..mounts {
            let status = volume.is_left_to_the_registry(&below, "store_error");
            *answers.entry(status).or_insert(0) += 1;
            volume.others_do_not_notice();
            volume.nothing_is_left_beside_links();
        }
        // What is linked already needs no room.
        let again = volume.client().mount("first", &volume.digest, "source");
        again.expect(201);
        end(volume, &below);
        volume.mounts_itself(&format!("{below}/good"));
        volume.all_are_mounted_at_last();
    }
    let happened = format!(
        "each of {} mounts answered as by the registry alone ({}), pulls too; no \
         temporary file left; after it the next mount is our own, and all of them are made",
        times * mounts,
        answers
            .iter()
            .map(|(status, times)| format!("{times} by {status}"))
            .collect::<Vec<_>>()
            .join(", "),
    );
    figures::note("Storage", tried, times, &happened);
}

#[test]
fn a_full_disk_leaves_mounts_to_the_registry_until_there_is_room() {
    needs!("docker-registry");
    needs_mounts!();
    let cases: [(&str, &str, Fill); 2] = [
        ("size=4m", "no byte left on the volume", fill_with_bytes),
        (
            "size=64m,nr_inodes=32768",
            "no inode left on the volume",
            fill_with_names,
        ),
    ];
    for (options, tried, fill) in cases {
        let volume = in_memory(options);
        let filler = |volume: &Volume| -> PathBuf { volume.registry.store.root.join("filler") };
        comes_and_goes(
            &volume,
            tried,
            |volume, _| fill(&filler(volume)),
            |volume, _| remove(&filler(volume)),
        );
    }
}

#[test]
fn a_volume_that_is_read_only_for_a_while_leaves_mounts_to_the_registry() {
    needs!("docker-registry");
    needs_mounts!();
    let volume = in_memory("size=16m");
    let disk = |volume: &Volume, option: &str| volume.disk.as_ref().unwrap().remount(option);
    comes_and_goes(
        &volume,
        "volume remounted read-only, and writable again",
        |volume, _| disk(volume, "ro"),
        |volume, _| disk(volume, "rw"),
    );
}

#[test]
fn a_repository_that_belongs_to_another_user_leaves_its_mounts_to_the_registry() {
    needs!("docker-registry");
    needs_mounts!();
    let volume = Volume::of_user(USER);
    comes_and_goes(
        &volume,
        "repository's directory given to another user, and back",
        |volume, below| {
            fs::create_dir(volume.registry.store.repository(below)).unwrap();
            // Other repositories are the sidecar's own business still.
            volume.mounts_itself(&format!("beside-{below}"));
        },
        |volume, below| give(&volume.registry.store.repository(below), USER),
    );
}

#[test]
fn a_store_that_belongs_to_another_user_is_not_written_to() {
    needs!("docker-registry");
    needs_mounts!();
    let volume = Volume::of_user(USER);
    comes_and_goes(
        &volume,
        "the whole store given to another user, and back",
        |volume, _| give(&volume.registry.store.top(), 0),
        |volume, _| give(&volume.registry.store.top(), USER),
    );
}

fn give(folder: &Path, user: u32) {
    chown(folder, Some(user), Some(user)).unwrap();
}
