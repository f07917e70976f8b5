use super::*;

fn digest(number: usize) -> Digest {
    Digest::parse(&format!("sha256:{number:064x}")).unwrap()
}

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

fn delete(deletions: &Arc<Tombstones>, repository: &str, number: usize) {
    let mut deletion = deletions.begin(&name(repository), &digest(number));
    deletion.record_deleted();
}

#[test]
fn what_was_deleted_is_barred_in_its_repository_alone() {
    let deletions = Arc::new(Tombstones::default());
    delete(&deletions, "a", 1);
    assert!(deletions.is_tombstoned(&name("a"), &digest(1)));
    assert!(!deletions.is_tombstoned(&name("b"), &digest(1)));
    assert!(!deletions.is_tombstoned(&name("a"), &digest(2)));
    let old = Instant::now().checked_sub(BARRED_FOR).unwrap();
    let layer = (name("a"), digest(1).bytes());
    deletions.done.insert(layer, old);
    assert!(!deletions.is_tombstoned(&name("a"), &digest(1)));
}

#[test]
fn one_refusal_says_nothing_of_another_deletion_of_the_same_layer() {
    let deletions = Arc::new(Tombstones::default());
    let (a, one) = (name("a"), digest(1));
    let mut refused = deletions.begin(&a, &one);
    let mut pending = deletions.begin(&a, &one);
    refused.record_refused();
    drop(refused);
    assert!(deletions.is_tombstoned(&a, &one));
    pending.record_refused();
    drop(pending);
    assert!(!deletions.is_tombstoned(&a, &one));
    delete(&deletions, "a", 1);
    deletions.begin(&a, &one).record_refused();
    assert!(deletions.is_tombstoned(&a, &one));
    assert!(deletions.pending.is_empty());
}

#[test]
fn one_whose_answer_nobody_heard_counts_as_done() {
    let deletions = Arc::new(Tombstones::default());
    drop(deletions.begin(&name("a"), &digest(1)));
    assert!(deletions.is_tombstoned(&name("a"), &digest(1)));
    for number in 0..2 * UNANSWERED {
        drop(deletions.begin(&name("stranger"), &digest(number)));
    }
    let last = digest(2 * UNANSWERED - 1);
    assert!(deletions.is_tombstoned(&name("stranger"), &last));
    assert!(!deletions.is_tombstoned(&name("b"), &digest(1)));
    let unanswered = lock(&deletions.unanswered);
    assert_eq!(unanswered.order.len(), UNANSWERED);
    assert_eq!(unanswered.last.len(), UNANSWERED);
}

#[test]
fn the_last_of_several_without_an_answer_counts() {
    let deletions = Arc::new(Tombstones::default());
    for _ in 0..2 {
        drop(deletions.begin(&name("a"), &digest(1)));
    }
    {
        let mut unanswered = lock(&deletions.unanswered);
        unanswered.order[0].1 = Instant::now().checked_sub(BARRED_FOR).unwrap();
    }
    drop(deletions.begin(&name("b"), &digest(2)));
    assert!(deletions.is_tombstoned(&name("a"), &digest(1)));
    assert_eq!(lock(&deletions.unanswered).order.len(), 2);
}

#[test]
fn more_than_can_be_remembered_bars_everything() {
    let deletions = Arc::new(Tombstones::default());
    for number in 0..=BOUND {
        delete(&deletions, "a", number);
    }
    assert_eq!(deletions.done.len(), BOUND);
    assert!(deletions.is_tombstoned(&name("a"), &digest(BOUND + 1)));
    *lock(&deletions.full_until) = Some(Instant::now());
    assert!(!deletions.is_tombstoned(&name("a"), &digest(BOUND + 1)));
}
