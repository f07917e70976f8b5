//! Whether a registry that is said to have no access control agrees.
//!
//! Once it has refused anybody anything, it decides itself, until it has contradicted nobody for
//! a while and then says yes to a question without credentials.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the registry must have contradicted nobody before its yes settles the matter.
const SETTLES_AFTER: Duration = Duration::from_secs(60);

/// Whether the registry agrees.
#[derive(Debug, Default)]
pub(crate) struct OpenModeGuard {
    contradicted: Mutex<Option<Instant>>,
}

impl OpenModeGuard {
    /// The registry refused what is allowed here; returns whether they agreed so far.
    pub fn record_contradiction(&self) -> bool {
        self.contradicted.lock().replace(Instant::now()).is_none()
    }

    /// Whether nothing is to be said against decisions made here.
    pub fn allows_open_mode(&self) -> bool {
        self.contradicted.lock().is_none()
    }

    /// Whether the registry contradicted so lately that it decides itself.
    pub fn is_in_dispute(&self) -> bool {
        self.contradicted.lock().is_some_and(is_fresh)
    }

    /// The registry has just allowed what is allowed here; returns whether that settles it.
    pub fn record_confirmation(&self) -> bool {
        let mut contradicted = self.contradicted.lock();
        if contradicted.is_some_and(is_fresh) {
            return false;
        }
        if contradicted.take().is_some() {
            tracing::info!("the registry allows again what is allowed here");
        }
        true
    }

    #[cfg(test)]
    pub fn age(&self) {
        let mut state = self.contradicted.lock();
        *state = state.and_then(|at| at.checked_sub(SETTLES_AFTER));
    }
}

fn is_fresh(at: Instant) -> bool {
    at.elapsed() < SETTLES_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contradiction_counts_until_the_registry_says_yes_after_a_while() {
        let guard = OpenModeGuard::default();
        assert!(guard.allows_open_mode() && guard.record_confirmation());
        assert!(guard.record_contradiction());
        assert!(!guard.record_contradiction());
        assert!(guard.is_in_dispute() && !guard.record_confirmation());
        guard.age();
        assert!(!guard.is_in_dispute() && !guard.allows_open_mode());
        assert!(guard.record_confirmation());
        assert!(guard.allows_open_mode());
    }
}
