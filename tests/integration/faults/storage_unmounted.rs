//! The volume goes away from under registry and sidecar, and comes back.

use super::volume::Volume;
use crate::support::figures;
use crate::support::filesystems::MountedFilesystem;
use crate::support::registry::Registry;
use crate::{needs, needs_mounts};

fn disk(registry: &Registry) -> MountedFilesystem {
    let behind = registry.home().join("volume");
    std::fs::create_dir_all(&behind).unwrap();
    MountedFilesystem::mirroring(&behind, &registry.store.root)
}

#[test]
fn a_volume_that_is_unmounted_gets_nothing_of_ours_beneath_it_and_is_used_again() {
    needs!("docker-registry");
    needs_mounts!();
    let (times, mounts) = (figures::amount(3, 30), figures::amount(5, 20));
    let mut volume = Volume::on(disk);
    volume.mounts_itself("first");
    for time in 0..times {
        volume.disk = None;
        if time == 0 {
            // The registry makes a store of the folder beneath with the first upload.
            let answer = volume.client().mount("away", &volume.digest, "source");
            answer.expect(202);
            assert_eq!(volume.sidecar.mounts_with_reason("store_error"), 1);
        }
        for _ in 0..mounts {
            let status = volume.is_left_to_the_registry(&format!("away{time}"), "source_missing");
            assert_eq!(status, 202);
            volume.others_do_not_notice();
        }
        let beneath = volume.registry.store.files();
        let links: Vec<_> = beneath
            .iter()
            .filter(|file| file.contains("/_layers/"))
            .collect();
        assert!(links.is_empty(), "{links:?}");
        volume.disk = Some(disk(&volume.registry));
        volume.mounts_itself(&format!("back{time}"));
        volume.others_do_not_notice();
        volume.all_are_mounted_at_last();
    }
    let happened = format!(
        "each of {} mounts answered as by the registry alone; no link in the empty directory beneath; \
         the next mount after it is our own",
        times * mounts
    );
    let tried = "volume unmounted from under registry and sidecar, and mounted again";
    figures::note("Storage", tried, times, &happened);
}
