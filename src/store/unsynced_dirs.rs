//! Which directories are not synced yet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use parking_lot::Mutex;

/// What is older than this has reached the disk by the kernel's own writeback.
pub(crate) const SETTLED: Duration = Duration::from_secs(60);

/// Directories that are remembered.
const MOST: usize = 10_000;
/// After the making of so many directories it is looked whether there are more.
const LOOK_EVERY: u64 = 256;

/// Directories that this process has made and that nobody has synced into their parents yet.
///
/// A mount that finds a directory there did not make it, but its link is durable only once
/// that directory's own entry is. Making is announced before the call and ends after it, so
/// whoever finds the directory finds it here too, even where several try to make it at once and
/// only one succeeds. Only a sync takes a directory away, whoever does it: a mount that fails or
/// gives up leaves its directories to the next one.
///
/// Where mounts go on failing, as on a full disk, nobody comes to sync: beyond a bound those are
/// forgotten that the kernel has written by now, and where that is not enough all of them, after
/// which every directory counts as not synced until the kernel has written them.
#[derive(Debug, Default)]
pub(crate) struct UnsyncedDirectories {
    directories: DashMap<Box<str>, DirectoryId>,
    made: AtomicU64,
    /// Until when there are some that are not remembered.
    forgotten_until: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct DirectoryId {
    /// How many calls that may make it are under way.
    attempts: usize,
    /// The last making of it that is not synced.
    made: Option<PendingCreation>,
}

/// One making of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PendingCreation {
    number: u64,
    at: Instant,
}

/// What has to be synced of one directory, as it was before the sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyncMark(Option<PendingCreation>);

impl DirectoryId {
    fn is_settled(&self) -> bool {
        self.attempts == 0 && self.made.is_none()
    }

    /// Whether somebody is making it, or it was made at `since` or later.
    fn is_younger_than(&self, since: Instant) -> bool {
        self.attempts > 0 || self.made.is_some_and(|made| made.at >= since)
    }
}

impl UnsyncedDirectories {
    /// A call that may make the directory begins.
    pub fn begin(&self, path: &str) {
        self.directories.entry(path.into()).or_default().attempts += 1;
    }

    /// The call has ended.
    pub fn end(&self, path: &str, was_made: bool) {
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

    /// What is to be synced of a directory; `None` where there is nothing.
    pub fn get(&self, path: &str) -> Option<SyncMark> {
        self.directories
            .get(path)
            .map(|directory| SyncMark(directory.made))
    }

    /// Whether a directory may be unsynced though [`get`](Self::get) knew nothing of it before.
    pub fn has_forgotten(&self) -> bool {
        let until = *self.forgotten_until.lock();
        until.is_some_and(|until| Instant::now() < until)
    }

    /// The directory was synced after `mark` was taken; what was made since then stays.
    pub fn synced(&self, path: &str, mark: SyncMark) {
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

    /// Forgets directories where there are more than `most`, those first that were made longer ago
    /// than `settled`.
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
            // Said before it is done: whoever misses a directory sees that it may be forgotten.
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

    /// As many directories as numbers, made and not synced.
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
        std::thread::sleep(Duration::from_millis(20));
        unsynced.begin("young");
        unsynced.end("young", true);
        unsynced.keep_within(10, Duration::from_millis(10));
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
