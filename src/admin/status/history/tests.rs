use super::*;

/// A midnight in UTC.
const DAY: u64 = 20_000;

/// This many minutes after midnight.
fn at(minutes: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(DAY * 86_400 + minutes * 60)
}

fn counters(saved_bytes: u64) -> Transferred {
    Transferred {
        saved_bytes,
        uploaded_bytes: saved_bytes * 2,
    }
}

/// The buckets' beginnings in minutes after midnight, and their saved bytes.
fn shown(history: &History) -> Vec<(i64, u64)> {
    let midnight = i64::try_from(DAY * 86_400).unwrap();
    history
        .buckets()
        .map(|bucket| {
            let start = i64::try_from(bucket.start()).unwrap() - midnight;
            let transferred = bucket.transferred;
            assert_eq!(transferred, counters(transferred.saved_bytes));
            (start / 60, transferred.saved_bytes)
        })
        .collect()
}

#[test]
fn a_start_has_one_empty_bucket() {
    let history = History::new(at(7));
    assert_eq!(shown(&history), [(5, 0)]);
    assert_eq!(history.today(), Transferred::default());
}

#[test]
fn growth_between_two_samples_is_in_the_bucket_of_the_first() {
    let mut history = History::new(at(0));
    history.sample(at(2), counters(3));
    history.sample(at(4), counters(10));
    // The timer's sample at the bucket's end.
    history.sample(at(5), counters(11));
    history.sample(at(9), counters(31));
    assert_eq!(shown(&history), [(0, 11), (5, 20)]);
    assert_eq!(history.today(), counters(31));
}

#[test]
fn the_ring_holds_24_hours_and_no_more() {
    let mut history = History::new(at(0));
    for sample in 1..=600 {
        history.sample(at(sample * 5), counters(sample));
        assert!(history.buckets().count() <= 288);
    }
    let shown = shown(&history);
    assert_eq!(shown.len(), 288);
    assert_eq!(shown.first(), Some(&(1565, 1)));
    assert_eq!(shown.last(), Some(&(3000, 0)));
}

#[test]
fn a_gap_has_no_buckets_and_a_long_one_leaves_only_the_current() {
    let mut history = History::new(at(0));
    history.sample(at(5), counters(3));
    history.sample(at(60), counters(4));
    assert_eq!(shown(&history), [(0, 3), (5, 1), (60, 0)]);
    history.sample(at(60 + 3 * 1440), counters(9));
    assert_eq!(shown(&history), [(60 + 3 * 1440, 0)]);
}

#[test]
fn today_begins_at_midnight() {
    let mut history = History::new(at(1430));
    history.sample(at(1435), counters(3));
    history.sample(at(1440), counters(5));
    assert_eq!(history.today(), counters(0));
    history.sample(at(1441), counters(6));
    assert_eq!(history.today(), counters(1));
    // The last bucket of the day still has the day's first one.
    history.sample(at(2 * 1440 - 1), counters(8));
    assert_eq!(history.today(), counters(3));
}

#[test]
fn a_clock_that_is_set_back_moves_the_buckets_with_it() {
    let mut history = History::new(at(120));
    history.sample(at(125), counters(3));
    history.sample(at(60), counters(7));
    assert_eq!(shown(&history), [(55, 3), (60, 4)]);
    history.sample(at(65), counters(8));
    assert_eq!(shown(&history), [(55, 3), (60, 5), (65, 0)]);
    assert_eq!(history.today(), counters(8));
    // Before 1970, and back: nothing is lost that would not be old then.
    history.sample(SystemTime::UNIX_EPOCH - BUCKET, counters(9));
    assert_eq!(history.buckets().last().map(Bucket::start), Some(0));
    history.sample(at(0), counters(9));
    assert_eq!(shown(&history), [(0, 0)]);
}

#[test]
fn a_clock_that_is_set_forward_leaves_a_gap() {
    let mut history = History::new(at(0));
    history.sample(at(1), counters(3));
    history.sample(at(600), counters(4));
    history.sample(at(601), counters(6));
    assert_eq!(shown(&history), [(0, 4), (600, 2)]);
}
