//! Whether the registry contradicts that it has no access control.
//!
//! Once it has refused any caller, it decides itself. That ends when it has contradicted nothing
//! for a while and then allows a probe without credentials.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the registry must not have contradicted before its confirmation ends the dispute.
const SETTLES_AFTER: Duration = Duration::from_secs(60);

/// Whether the registry contradicts.
#[derive(Debug, Default)]
pub(crate) struct OpenModeGuard {
    contradicted: Mutex<Option<Instant>>,
}

impl OpenModeGuard {
    /// Records that the registry refused what crossmount allows; returns whether that is new.
    pub fn record_contradiction(&self) -> bool {
        self.contradicted.lock().replace(Instant::now()).is_none()
    }

    /// Whether crossmount may decide.
    pub fn allows_open_mode(&self) -> bool {
        self.contradicted.lock().is_none()
    }

    /// Whether the registry contradicted so recently that it decides itself.
    pub fn is_in_dispute(&self) -> bool {
        self.contradicted.lock().is_some_and(is_fresh)
    }

    /// Records that the registry allowed what crossmount allows; returns whether that ends a
    /// dispute.
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
    fn a_contradiction_counts_until_the_registry_confirms_after_a_while() {
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
