//! Which folders are not synced yet.

use dashmap::DashMap;

/// Folders that this process has made and not yet synced into their parents.
///
/// A mount that finds a folder there did not make it, but its link is durable only once
/// that folder's own entry is. A folder is marked before it is made, so whoever finds it
/// finds the mark too.
#[derive(Debug, Default)]
pub(super) struct Unsynced(DashMap<Box<str>, usize>);

impl Unsynced {
    pub fn mark(&self, path: &str) {
        *self.0.entry(path.into()).or_default() += 1;
    }

    pub fn unmark(&self, path: &str) {
        if let Some(mut count) = self.0.get_mut(path) {
            *count -= 1;
        }
        self.0.remove_if(path, |_, count| *count == 0);
    }

    pub fn is_marked(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
