//! A registry without access control: every caller may mount, as long as the registry confirms it.
//!
//! The registry is probed without credentials, at most once in the few seconds for which a probe
//! counts. A registry that refuses any caller has access control after all. From then on it decides
//! about every mount, until it has refused no caller for a while and allows a mount without
//! credentials.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::auth::decision::AuthDecision;
use crate::auth::grant::{Basis, Lease, Proof};
use crate::auth::upstream::{UpstreamAccess, without_decision};
use crate::auth::{AuthRequest, Unauthorized};
use crate::telemetry::labels::DecidedBy;
use crate::upstream::{Observation, PROBE_COUNTS_FOR, ProbeResult, UpstreamClient};

/// How long a probe without a useful response is not repeated.
const FAILED_COUNTS_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct OpenAccess {
    client: Arc<UpstreamClient>,
    upstream: UpstreamAccess,
    guard: OpenModeGuard,
    /// Held during a probe, so that equal probes at once are one; the last inconclusive response.
    failed: tokio::sync::Mutex<Option<(Instant, ProbeResult)>>,
}

impl OpenAccess {
    pub(crate) fn new(client: Arc<UpstreamClient>, upstream: UpstreamAccess) -> Self {
        Self {
            client,
            upstream,
            guard: OpenModeGuard::default(),
            failed: tokio::sync::Mutex::new(None),
        }
    }

    /// Records that the registry refused a request: grants in flight are revoked.
    pub(crate) async fn record_refusal(&self, refused: &Unauthorized<'_>) {
        self.upstream.forget(refused.granted).await;
        self.record_contradiction();
    }

    /// Whether every caller may mount, as far as is known.
    pub(crate) fn is_undisputed(&self) -> bool {
        self.guard.allows_open_mode()
    }

    fn record_contradiction(&self) {
        self.client.registry_state().record_write_refused();
        if self.guard.record_contradiction() {
            tracing::error!(
                mode = "none",
                hint = "set access.mode to upstream",
                "access decision contradicted by the registry"
            );
        }
    }

    pub(crate) async fn decide(&self, request: &AuthRequest<'_>) -> (AuthDecision, DecidedBy) {
        if self.guard.is_in_dispute() {
            return self.upstream.decide(request).await;
        }
        (self.decide_for_all(request).await, DecidedBy::None)
    }

    async fn decide_for_all(&self, request: &AuthRequest<'_>) -> AuthDecision {
        let observation = self.client.registry_state().observe();
        if self.has_confirmed_open() {
            return grant(request, observation);
        }
        let Ok(mut failed) = tokio::time::timeout_at(request.deadline, self.failed.lock()).await
        else {
            return AuthDecision::TimedOut;
        };
        let observation = self.client.registry_state().observe();
        if self.has_confirmed_open() {
            return grant(request, observation);
        }
        let answer = match *failed {
            Some((at, answer)) if at.elapsed() < FAILED_COUNTS_FOR => answer,
            _ => {
                let answer = self
                    .client
                    .probe_mount(&request.probe().without_credentials())
                    .await;
                *failed = is_inconclusive(answer).then(|| (Instant::now(), answer));
                answer
            }
        };
        match answer {
            ProbeResult::Writable if self.guard.record_confirmation() => {
                grant(request, observation)
            }
            // It refused another caller during the probe.
            ProbeResult::Writable => AuthDecision::Mismatch,
            ProbeResult::Refused | ProbeResult::Insufficient => {
                self.record_contradiction();
                AuthDecision::Mismatch
            }
            answer => without_decision(answer),
        }
    }

    /// Whether a probe is still valid for a moment, and no refusal has come since it began.
    fn has_confirmed_open(&self) -> bool {
        self.guard.allows_open_mode() && self.client.registry_state().is_writable_for_new_link()
    }
}

/// Whether a probe shows nothing, and would show no more to another caller at once. A strange
/// response may be due to the names in the probe.
fn is_inconclusive(answer: ProbeResult) -> bool {
    matches!(
        answer,
        ProbeResult::Unreachable | ProbeResult::Broken | ProbeResult::TimedOut
    )
}

/// Counts for as long as a probe that was sent after `observation`.
fn grant(request: &AuthRequest<'_>, observation: Observation) -> AuthDecision {
    let basis = Basis::new(Proof::NoAccessControl, None);
    let lease = Lease::new(observation, PROBE_COUNTS_FOR);
    AuthDecision::Granted(request.grant(None, basis, lease))
}

/// How long the registry must not have contradicted before its confirmation ends the dispute.
const SETTLES_AFTER: Duration = Duration::from_secs(60);

/// Whether the registry contradicts that it has no access control.
#[derive(Debug, Default)]
pub(crate) struct OpenModeGuard {
    contradicted: Mutex<Option<Instant>>,
}

impl OpenModeGuard {
    /// Records that the registry refused what crossmount allows; returns whether that is new.
    pub(crate) fn record_contradiction(&self) -> bool {
        self.contradicted.lock().replace(Instant::now()).is_none()
    }

    /// Whether crossmount may decide.
    pub(crate) fn allows_open_mode(&self) -> bool {
        self.contradicted.lock().is_none()
    }

    /// Whether the registry contradicted so recently that it decides itself.
    pub(crate) fn is_in_dispute(&self) -> bool {
        self.contradicted.lock().is_some_and(is_fresh)
    }

    /// Records that the registry allowed what crossmount allows; returns whether that ends a
    /// dispute.
    pub(crate) fn record_confirmation(&self) -> bool {
        let mut contradicted = self.contradicted.lock();
        if contradicted.is_some_and(is_fresh) {
            return false;
        }
        if contradicted.take().is_some() {
            tracing::info!("access contradiction resolved");
        }
        true
    }

    #[cfg(test)]
    pub(crate) fn age(&self) {
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
