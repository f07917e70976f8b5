//! The registry was away: until it is known again that the store is its own, it answers mounts.

use super::{Damage, SIZE, mount_until, verify_blobs, verifying};
use crate::{needs, support};
use support::bytes_from;
use support::registry::Registry;

#[test]
fn what_is_known_to_be_damaged_is_not_mounted_by_a_registry_that_was_away() {
    needs!("docker-registry");
    let mut registry = Registry::start();
    let sidecar = verifying(&registry, verify_blobs);
    let client = sidecar.client();
    let bytes = bytes_from("damaged", SIZE);
    let damaged = client.upload("source", &bytes);
    let unknown = client.upload("source", &bytes_from("unknown", SIZE));
    Damage::Flipped.happens_to(&registry.store, &damaged, &bytes, SIZE / 2);
    mount_until(&sidecar, &damaged, "damaged");

    registry.kill();
    client.get("/v2/").expect(503);
    registry.resume();
    let before = sidecar.mounts_with_reason("blob_damaged");
    client.mount("target", &damaged, "source").expect(202);
    assert_eq!(sidecar.mounts_with_reason("blob_damaged"), before + 1);
    assert!(!registry.store.has_link("target", &damaged));
    // Of this one nobody knows anything: the registry mounts it, as without crossmount.
    client.mount("target", &unknown, "source").expect(201);
    assert_eq!(sidecar.mounts("native", "none"), 1);
}
