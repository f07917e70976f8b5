use super::*;
use crate::oci::Digest;

const TTL: Duration = Duration::from_secs(60 * 60);

fn blob(repository: &str, number: usize) -> BlobRef {
    BlobRef {
        repository: RepositoryName::parse(repository).unwrap(),
        digest: Digest::parse(&format!("sha256:{number:064x}")).unwrap(),
    }
}

fn key(blob: &BlobRef) -> LayerKey {
    (blob.repository.clone(), blob.digest.bytes())
}

fn delete(deletions: &Arc<Tombstones>, repository: &str, number: usize) {
    let mut deletion = deletions.begin(&blob(repository, number));
    deletion.record_deleted();
}

#[test]
fn a_deletion_leaves_a_tombstone_in_its_repository_alone() {
    let deletions = Arc::new(Tombstones::new(TTL));
    delete(&deletions, "a", 1);
    assert!(deletions.is_tombstoned(&blob("a", 1)));
    assert!(!deletions.is_tombstoned(&blob("b", 1)));
    assert!(!deletions.is_tombstoned(&blob("a", 2)));
    let old = Instant::now().checked_sub(TTL).unwrap();
    let layer = key(&blob("a", 1));
    deletions.done.insert(layer, old);
    assert!(!deletions.is_tombstoned(&blob("a", 1)));
}

#[test]
fn one_refusal_does_not_end_another_deletion_of_the_same_layer() {
    let deletions = Arc::new(Tombstones::new(TTL));
    let layer = blob("a", 1);
    let mut refused = deletions.begin(&layer);
    let mut pending = deletions.begin(&layer);
    refused.record_refused();
    drop(refused);
    assert!(deletions.is_tombstoned(&layer));
    pending.record_refused();
    drop(pending);
    assert!(!deletions.is_tombstoned(&layer));
    delete(&deletions, "a", 1);
    deletions.begin(&layer).record_refused();
    assert!(deletions.is_tombstoned(&layer));
    assert!(deletions.pending.is_empty());
}

#[test]
fn a_deletion_without_a_response_counts_as_done() {
    let deletions = Arc::new(Tombstones::new(TTL));
    drop(deletions.begin(&blob("a", 1)));
    assert!(deletions.is_tombstoned(&blob("a", 1)));
    for number in 0..2 * UNANSWERED {
        drop(deletions.begin(&blob("stranger", number)));
    }
    let last = blob("stranger", 2 * UNANSWERED - 1);
    assert!(deletions.is_tombstoned(&last));
    assert!(!deletions.is_tombstoned(&blob("b", 1)));
    assert_eq!(deletions.unanswered.lock().len(), UNANSWERED);
}

#[test]
fn the_last_of_several_without_a_response_counts() {
    let deletions = Arc::new(Tombstones::new(TTL));
    let layer = key(&blob("a", 1));
    drop(deletions.begin(&blob("a", 1)));
    let long_ago = Instant::now().checked_sub(TTL).unwrap();
    deletions.unanswered.lock().put(layer, long_ago);
    assert!(!deletions.is_tombstoned(&blob("a", 1)));
    drop(deletions.begin(&blob("a", 1)));
    drop(deletions.begin(&blob("b", 2)));
    assert!(deletions.is_tombstoned(&blob("a", 1)));
    assert_eq!(deletions.unanswered.lock().len(), 2);
}

#[test]
fn beyond_the_bound_every_layer_has_a_tombstone() {
    let deletions = Arc::new(Tombstones::new(TTL));
    for number in 0..=BOUND {
        delete(&deletions, "a", number);
    }
    assert_eq!(deletions.done.len(), BOUND);
    assert!(deletions.is_tombstoned(&blob("a", BOUND + 1)));
    *deletions.full_until.lock() = Some(Instant::now());
    assert!(!deletions.is_tombstoned(&blob("a", BOUND + 1)));
}
