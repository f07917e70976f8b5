//! Two hosts on one network filesystem: what one links, the other serves.

use super::gluster_hosts::{BLOB, Cluster};
use crate::support::scripted_registry::ScriptedRegistry;
use crate::support::sidecar::generous_time_budget;
use crate::support::store::trace_of;
use crate::support::strace::inject_faults;
use crate::support::{figures, wait_until};
use crate::{needs, needs_mounts};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn a_mount_by_one_host_is_served_by_the_other_which_had_looked_for_it_before() {
    needs!("docker-registry", "glusterfs", "glusterfsd");
    needs_mounts!();
    let times = figures::amount(10, 300);
    let cluster = Cluster::start();
    let digest = cluster.hosts[0].sidecar.client().upload("source", BLOB);
    for time in 0..times {
        let [one, two] = &cluster.hosts;
        let (one, two) = if time % 2 == 0 {
            (one, two)
        } else {
            (two, one)
        };
        let (target, next) = (format!("target/{time}"), format!("next/{time}"));
        two.answers(&target, &digest, 404);
        one.mounts_itself(&target, &digest, "source");
        two.answers(&target, &digest, 200);
        one.answers(&next, &digest, 404);
        two.mounts_itself(&next, &digest, &target);
        one.answers(&next, &digest, 200);
        let link = fs::read_to_string(cluster.brick.link(&next, &digest)).unwrap();
        assert_eq!(link, digest);
    }
    let happened = "hosts: two FUSE clients of one brick here; each served at once by the other host's registry, which had looked for it and \
                    found nothing, and mounted from there by the other's sidecar";
    let tried = "mounts by one of two hosts on one GlusterFS volume";
    figures::note("Storage", tried, times * 2, happened);
}

#[test]
fn two_hosts_that_mount_the_same_at_once_have_one_whole_link_that_both_serve() {
    needs!("docker-registry", "glusterfs", "glusterfsd");
    needs_mounts!();
    let times = figures::amount(10, 200);
    let (left, stale) = (AtomicU64::new(0), AtomicU64::new(0));
    let cluster = Cluster::start();
    let digest = cluster.hosts[0].sidecar.client().upload("source", BLOB);
    for time in 0..times {
        let target = format!("both/{time}/deep/down");
        std::thread::scope(|scope| {
            for host in &cluster.hosts {
                let (target, digest) = (&target, &digest);
                let (left, stale) = (&left, &stale);
                scope.spawn(move || {
                    let client = host.sidecar.client();
                    // A handle that is stale on one host leaves its mount to the registry.
                    let mount = || client.mount(target, digest, "source").status;
                    left.fetch_add(u64::from(mount() != 201), Ordering::Relaxed);
                    wait_until("the mount is made", || mount() == 201);
                    let read = || client.blob(target, digest).status;
                    stale.fetch_add(u64::from(read() != 200), Ordering::Relaxed);
                });
            }
        });
        for host in &cluster.hosts {
            let client = host.sidecar.client();
            wait_until("the link is read", || {
                client.blob(&target, &digest).status == 200
            });
            host.answers(&target, &digest, 200);
        }
        let link = fs::read_to_string(cluster.brick.link(&target, &digest)).unwrap();
        assert_eq!(link, digest);
    }
    assert_eq!(cluster.brick.stray_files(), [""; 0]);
    let happened = format!(
        "one link, whole, served by both, and nothing left beside it; of twice as many mounts {} \
         were left to the registry at first, and {} first reads met a stale handle",
        left.into_inner(),
        stale.into_inner()
    );
    let tried = "the same mount by two hosts on one GlusterFS volume at once";
    figures::note("Storage", tried, times, &happened);
}

#[test]
fn a_link_that_another_host_has_written_meanwhile_is_not_replaced() {
    needs!("strace");
    let registry = ScriptedRegistry::start(|_| None);
    let home = tempfile::tempdir().unwrap();
    let slow = "linkat:delay_enter=3000000";
    let command = inject_faults(&[slow], &home.path().join("trace"));
    let sidecar = registry.sidecar_by(command, generous_time_budget);
    let (client, digest) = (sidecar.client(), registry.plant("source", BLOB));
    let (answer, theirs) = std::thread::scope(|scope| {
        let mount = scope.spawn(|| client.mount("target", &digest, "source"));
        wait_until("the link is being written", || {
            !registry.store.unlinked_folders().is_empty()
        });
        registry.store.plant_link("target", &digest, &digest);
        let theirs = trace_of(&registry.store.link("target", &digest));
        (mount.join().unwrap(), theirs)
    });
    answer.expect(201);
    assert_eq!(trace_of(&registry.store.link("target", &digest)), theirs);
    assert_eq!(registry.store.stray_files(), [""; 0]);
    assert_eq!(sidecar.mounts("already_linked", "none"), 1);
}
