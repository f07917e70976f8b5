//! Threads that go on until it is over.

use std::sync::atomic::{AtomicBool, Ordering};

/// Says that it is over when it goes, also where a panic takes it: others would go on for ever.
pub struct StopGuard<'a>(pub &'a AtomicBool);

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
