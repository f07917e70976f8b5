//! Which folders are not synced yet.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

/// Folders that this process has made and that nobody has synced into their parents yet.
///
/// A mount that finds a folder there did not make it, but its link is durable only once
/// that folder's own entry is. Making is announced before the call and ends after it, so
/// whoever finds the folder finds it here too, even where several try to make it at once and
/// only one succeeds. Only a sync takes a folder away, whoever does it: a mount that fails or
/// gives up leaves its folders to the next one.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    folders: DashMap<Box<str>, Folder>,
    made: AtomicU64,
}

#[derive(Debug, Default)]
struct Folder {
    /// How many calls that may make it are under way.
    attempts: usize,
    /// Which making of any folder is not synced.
    made: Option<u64>,
}

/// What has to be synced of one folder, as it was before the sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(Option<u64>);

impl Folder {
    fn is_settled(&self) -> bool {
        self.attempts == 0 && self.made.is_none()
    }
}

impl Unsynced {
    /// A call that may make the folder begins.
    pub fn begin(&self, path: &str) {
        self.folders.entry(path.into()).or_default().attempts += 1;
    }

    /// The call has ended.
    pub fn end(&self, path: &str, was_made: bool) {
        if let Some(mut folder) = self.folders.get_mut(path) {
            folder.attempts -= 1;
            if was_made {
                folder.made = Some(self.made.fetch_add(1, Ordering::Relaxed));
            }
        }
        self.forget_settled(path);
    }

    /// What is to be synced of a folder; `None` where there is nothing.
    pub fn get(&self, path: &str) -> Option<Mark> {
        self.folders.get(path).map(|folder| Mark(folder.made))
    }

    /// The folder was synced after `mark` was taken; what was made since then stays.
    pub fn synced(&self, path: &str, mark: Mark) {
        if let Some(mut folder) = self.folders.get_mut(path)
            && folder.made == mark.0
        {
            folder.made = None;
        }
        self.forget_settled(path);
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    fn forget_settled(&self, path: &str) {
        self.folders
            .remove_if(path, |_, folder| folder.is_settled());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_attempt_does_not_take_away_what_another_one_made() {
        let unsynced = Unsynced::default();
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
        let unsynced = Unsynced::default();
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
        let unsynced = Unsynced::default();
        unsynced.begin("a");
        unsynced.end("a", false);
        assert!(unsynced.is_empty());
    }
}
