//! Tracks which new directories are not synced yet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use parking_lot::Mutex;

/// By then the kernel's own writeback has written a directory to the disk.
pub(crate) const SETTLED: Duration = Duration::from_secs(60);

/// At most so many directories are tracked.
const MOST: usize = 10_000;
/// After so many new directories their number is checked against the bound.
const LOOK_EVERY: u64 = 256;

/// Directories that this process has created and that no mount has synced into their parents yet.
///
/// A mount that finds a directory did not create it, but its link is durable only once that
/// directory's own entry is. A creation is announced before the call and ends after it. So a mount
/// that finds the directory finds it here too, even if several create it at once and one succeeds.
/// Only a sync by any mount removes an entry: a mount that fails leaves its entries to the next.
///
/// The birth time of a directory does not replace this. It says nothing about a sync, so for a
/// minute every mount into a new repository would sync the same directories again.
///
/// If mounts keep failing, as on a full disk, no sync removes entries. Beyond a bound those are
/// dropped that the kernel has written by now. If that is not enough, all are dropped. Then every
/// directory counts as not synced until the kernel has written it.
#[derive(Debug, Default)]
pub(crate) struct UnsyncedDirectories {
    directories: DashMap<Box<str>, DirectoryId>,
    made: AtomicU64,
    /// Until when directories may be unsynced that are no longer tracked.
    forgotten_until: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct DirectoryId {
    /// The number of calls in flight that may create it.
    attempts: usize,
    /// Its last creation that is not synced yet.
    made: Option<PendingCreation>,
}

/// One creation of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PendingCreation {
    number: u64,
    at: Instant,
}

/// What has to be synced of one directory, taken before the sync begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyncMark(Option<PendingCreation>);

impl DirectoryId {
    fn is_settled(&self) -> bool {
        self.attempts == 0 && self.made.is_none()
    }

    /// Whether a creation is in flight, or one ended at `since` or later.
    fn is_younger_than(&self, since: Instant) -> bool {
        self.attempts > 0 || self.made.is_some_and(|made| made.at >= since)
    }
}

impl UnsyncedDirectories {
    /// Announces a call that may create the directory.
    pub(crate) fn begin(&self, path: &str) {
        self.directories.entry(path.into()).or_default().attempts += 1;
    }

    /// Ends the call.
    pub(crate) fn end(&self, path: &str, was_made: bool) {
        let number = was_made.then(|| self.made.fetch_add(1, Ordering::Relaxed));
        if let Some(mut directory) = self.directories.get_mut(path) {
            directory.attempts -= 1;
            if let Some(number) = number {
                let at = Instant::now();
                directory.made = Some(PendingCreation { number, at });
            }
        }
        self.forget_settled(path);
        if number.is_some_and(|number| number.is_multiple_of(LOOK_EVERY)) {
            self.keep_within(MOST, SETTLED);
        }
    }

    /// What has to be synced of a directory; `None` if nothing has.
    pub(crate) fn get(&self, path: &str) -> Option<SyncMark> {
        self.directories
            .get(path)
            .map(|directory| SyncMark(directory.made))
    }

    /// Whether a directory may be unsynced though [`get`](Self::get) returned `None` before.
    pub(crate) fn has_forgotten(&self) -> bool {
        let until = *self.forgotten_until.lock();
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Records a sync that began after `mark` was taken; a later creation stays unsynced.
    pub(crate) fn synced(&self, path: &str, mark: SyncMark) {
        if let Some(mut directory) = self.directories.get_mut(path)
            && directory.made == mark.0
        {
            directory.made = None;
        }
        self.forget_settled(path);
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    fn forget_settled(&self, path: &str) {
        self.directories
            .remove_if(path, |_, directory| directory.is_settled());
    }

    /// Drops directories if more than `most` are tracked: first those created longer ago than
    /// `settled`.
    pub(crate) fn keep_within(&self, most: usize, settled: Duration) {
        if self.directories.len() <= most {
            return;
        }
        let now = Instant::now();
        if let Some(since) = now.checked_sub(settled) {
            self.directories
                .retain(|_, directory| directory.is_younger_than(since));
        }
        if self.directories.len() > most {
            // Set before they are dropped: a mount that misses one must know of it.
            *self.forgotten_until.lock() = Some(now + settled);
            self.directories
                .retain(|_, directory| directory.is_younger_than(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_attempt_does_not_take_away_what_another_one_made() {
        let unsynced = UnsyncedDirectories::default();
        unsynced.begin("a");
        unsynced.begin("a");
        assert!(unsynced.get("a").is_some());
        unsynced.end("a", true);
        unsynced.end("a", false);
        let mark = unsynced.get("a").unwrap();
        unsynced.synced("a", mark);
        assert!(unsynced.is_empty());
    }

    #[test]
    fn what_was_made_after_the_sync_began_is_still_to_be_synced() {
        let unsynced = UnsyncedDirectories::default();
        unsynced.begin("a");
        let early = unsynced.get("a").unwrap();
        unsynced.end("a", true);
        unsynced.synced("a", early);
        let first = unsynced.get("a").unwrap();
        unsynced.begin("a");
        unsynced.end("a", true);
        unsynced.synced("a", first);
        assert!(unsynced.get("a").is_some());
    }

    #[test]
    fn an_attempt_that_made_nothing_leaves_nothing() {
        let unsynced = UnsyncedDirectories::default();
        unsynced.begin("a");
        unsynced.end("a", false);
        assert!(unsynced.is_empty());
    }

    /// Tracks a directory for each number, created and not synced.
    fn made(numbers: std::ops::Range<u32>) -> UnsyncedDirectories {
        let unsynced = UnsyncedDirectories::default();
        for number in numbers {
            let path = number.to_string();
            unsynced.begin(&path);
            unsynced.end(&path, true);
        }
        unsynced
    }

    #[test]
    fn what_the_kernel_has_written_meanwhile_is_forgotten_first() {
        let unsynced = made(0..10);
        std::thread::sleep(Duration::from_millis(550));
        unsynced.begin("young");
        unsynced.end("young", true);
        unsynced.keep_within(10, Duration::from_millis(500));
        assert!(unsynced.get("young").is_some());
        assert!(unsynced.get("0").is_none());
        assert!(!unsynced.has_forgotten());
    }

    #[test]
    fn where_too_many_are_young_all_are_forgotten_and_that_is_known() {
        let unsynced = made(0..10);
        unsynced.begin("under way");
        unsynced.keep_within(11, SETTLED);
        assert!(unsynced.get("0").is_some());
        assert!(!unsynced.has_forgotten());
        unsynced.keep_within(10, SETTLED);
        assert!(unsynced.get("0").is_none());
        assert!(unsynced.get("under way").is_some());
        assert!(unsynced.has_forgotten());
    }

    #[test]
    fn mounts_that_go_on_failing_do_not_fill_the_memory() {
        let unsynced = made(0..50_000);
        let most = MOST + usize::try_from(LOOK_EVERY).unwrap();
        assert!(unsynced.directories.len() <= most);
    }
}
