//! Damage is found, told, and never mounted.

use super::{
    Damage, SIZE, alarms, discovering, hashed, mount_until, verify_blobs, verifying, wait_for_log,
};
use crate::{needs, support};
use std::fs::{self, File};
use std::time::{Duration, SystemTime};
use support::registry::Registry;
use support::registry_client::encoded;
use support::sidecar::Sidecar;
use support::{bytes_from, digest_of, figures, wait_until};

/// Neither crossmount nor the registry mounts it for a client, in any way that it may ask.
#[track_caller]
fn is_never_mounted(registry: &Registry, sidecar: &Sidecar, digest: &str, target: &str) {
    let client = sidecar.client();
    let damaged = sidecar.mounts_with_reason("blob_damaged");
    let answer = client.mount(target, digest, "source").expect(202);
    assert!(answer.header("Docker-Upload-Uuid").is_some());
    let sourceless = format!("/v2/{target}/blobs/uploads/?mount={}", encoded(digest));
    client
        .request("POST", &sourceless)
        .send(client.port)
        .expect(202);
    // Its link is there, and so is a file.
    client.mount("source", digest, "source").expect(202);
    assert!(!registry.store.has_link(target, digest), "{target}");
    assert!(sidecar.mounts_with_reason("blob_damaged") >= damaged + 2);
}

/// Damages one blob after the other, in every way and from the first byte to the last; `before` and
/// `after` get its digest and what number it is. Returns how many there were.
fn damage_all(
    registry: &Registry,
    sidecar: &Sidecar,
    before: impl Fn(&str, u64),
    after: impl Fn(&str, u64),
) -> u64 {
    let rounds = figures::amount(1, 40);
    let mut tried = 0;
    for round in 0..rounds {
        for damage in Damage::ALL {
            let bytes = bytes_from(&format!("{damage:?} {round}"), SIZE);
            let digest = sidecar.client().upload("source", &bytes);
            before(&digest, tried);
            let at = (SIZE - 1) * round / (rounds - 1).max(1);
            damage.happens_to(&registry.store, &digest, &bytes, at);
            after(&digest, tried);
            let target = format!("target/{tried}");
            is_never_mounted(registry, sidecar, &digest, &target);
            sidecar.client().head_blob(&target, &digest).expect(404);
            assert!(!registry.store.has_link(&target, &digest));
            tried += 1;
            assert_eq!(hashed(sidecar, "damaged"), tried);
            assert_eq!(alarms(sidecar, tried).last(), Some(&digest));
        }
    }
    tried
}

#[test]
fn damage_before_the_first_mount_is_found_and_never_mounted() {
    needs!("docker-registry");
    let registry = Registry::with_hot_cache();
    let sidecar = verifying(&registry, discovering);
    let found = |digest: &str, number| {
        mount_until(&sidecar, digest, "damaged");
        // Nothing was known of it: that mount was the registry's, as without the sidecar.
        assert_eq!(sidecar.mounts("native", "blob_unverified"), number + 1);
        // The registry's cache vouches for it still, and would mount it.
        let ghost = registry.client().mount("ghost", digest, "source");
        ghost.expect(201);
    };
    let tried = damage_all(&registry, &sidecar, |_, _| (), found);
    assert_eq!(sidecar.mounted(), 0);
    figures::note(
        "Damaged blobs",
        "a bit flipped, a file cut short, a file too long, before the first mount",
        tried,
        "each found by its first mount, which is left to the registry, logged once by its digest, \
         and never mounted since by crossmount or the registry's cache, nor by a HEAD",
    );
}

#[test]
fn damage_to_a_blob_that_was_good_is_not_mounted_even_once() {
    needs!("docker-registry");
    let registry = Registry::with_hot_cache();
    let sidecar = verifying(&registry, discovering);
    let good = |digest: &str, number| {
        mount_until(&sidecar, digest, "good");
        let target = format!("good/{number}");
        sidecar
            .client()
            .mount(&target, digest, "source")
            .expect(201);
        assert_eq!(sidecar.mounted(), number + 1);
    };
    let found = |digest: &str, number| {
        let target = format!("target/{number}");
        let at_once = sidecar.client().mount(&target, digest, "source");
        at_once.expect(202);
        wait_until("it is found", || hashed(&sidecar, "damaged") > number);
    };
    let tried = damage_all(&registry, &sidecar, good, found);
    assert_eq!(sidecar.mounted(), tried, "none but while it was good");
    figures::note(
        "Damaged blobs",
        "a bit flipped, a file cut short, a file too long, after the blob was found good",
        tried,
        "not one 201 since, by crossmount or the registry's cache; each logged once",
    );
}

#[test]
fn what_is_replaced_by_good_bytes_is_mounted_again() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = verifying(&registry, verify_blobs);
    let client = sidecar.client();
    let bytes = bytes_from("healed", SIZE);
    let digest = client.upload("source", &bytes);
    Damage::Flipped.happens_to(&registry.store, &digest, &bytes, SIZE / 2);
    mount_until(&sidecar, &digest, "damaged");
    let refused = client.mount("target", &digest, "source").expect(202);

    // An upload alone does not help: the registry keeps the file that is there.
    client.finish(&refused, &bytes).expect(201);
    assert_ne!(fs::read(registry.store.data(&digest)).unwrap(), bytes);
    client.mount("other", &digest, "target").expect(202);

    fs::remove_file(registry.store.data(&digest)).unwrap();
    client.upload("source", &bytes);
    assert_eq!(fs::read(registry.store.data(&digest)).unwrap(), bytes);
    mount_until(&sidecar, &digest, "good");
    client.mount("third", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    assert_eq!(client.pull("third", &digest), bytes);
    wait_for_log(&sidecar, "damaged blob replaced by an intact one");
    assert_eq!(alarms(&sidecar, 1), [digest]);
}

#[test]
fn a_blob_that_is_touched_is_hashed_again_and_mounted_again() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = verifying(&registry, verify_blobs);
    let client = sidecar.client();
    let digest = client.upload("source", &bytes_from("touched", SIZE));
    mount_until(&sidecar, &digest, "good");
    let file = File::options()
        .write(true)
        .open(registry.store.data(&digest));
    let earlier = SystemTime::now() - Duration::from_secs(60);
    file.unwrap().set_modified(earlier).unwrap();
    client.mount("meanwhile", &digest, "source").expect(202);
    wait_until("it is good again", || hashed(&sidecar, "good") == 2);
    client.mount("target", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn without_verify_a_damaged_blob_is_the_registrys_matter() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let bytes = bytes_from("unseen", 1000);
    let digest = sidecar.client().upload("source", &bytes);
    Damage::Flipped.happens_to(&registry.store, &digest, &bytes, 5);
    let client = sidecar.client();
    client.mount("target", &digest, "source").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    assert_ne!(digest_of(&client.blob("target", &digest).body), digest);
    assert_eq!(hashed(&sidecar, "damaged"), 0);
}
