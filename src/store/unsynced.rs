//! Which folders are not synced yet.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

/// Folders that this process has made and that nobody has synced into their parents yet.
///
/// A mount that finds a folder there did not make it, but its link is durable only once
/// that folder's own entry is. A folder is marked before it is made, so whoever finds it
/// finds the mark too, and only a sync takes the mark away, whoever does it: a mount that
/// fails or gives up leaves its marks to the next one.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    marks: DashMap<Box<str>, u64>,
    made: AtomicU64,
}

/// One making of one folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Unsynced {
    /// Marks a folder that is about to be made; `None` where it is marked already.
    pub fn mark(&self, path: &str) -> Option<Mark> {
        match self.marks.entry(path.into()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let number = self.made.fetch_add(1, Ordering::Relaxed);
                place.insert(number);
                Some(Mark(number))
            }
        }
    }

    /// The mark of a folder that is to be synced.
    pub fn get(&self, path: &str) -> Option<Mark> {
        self.marks.get(path).map(|number| Mark(*number))
    }

    /// Takes a mark away; a folder that was made anew meanwhile keeps its own.
    pub fn clear(&self, path: &str, mark: Mark) {
        self.marks.remove_if(path, |_, number| *number == mark.0);
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }
}
