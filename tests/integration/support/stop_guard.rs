//! Stops the threads that a test runs in the background.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets its flag when it is dropped, by a panic too: threads that watch the flag would go on for
/// ever.
pub struct StopGuard<'a>(pub &'a AtomicBool);

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
