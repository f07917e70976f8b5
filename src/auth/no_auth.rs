//! A registry without access control: every caller may mount, as long as the registry confirms it.
//!
//! The registry is probed without credentials, at most once in the few seconds for which a probe
//! counts. A registry that refuses any caller has access control after all. From then on it decides
//! about every mount, until it has refused no caller for a while and allows a mount without
//! credentials.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::auth::decision::AuthDecision;
use crate::auth::grant::Lease;
use crate::auth::grant::{Basis, Proof};
use crate::auth::open_mode_guard::OpenModeGuard;
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
    failed: Mutex<Option<(Instant, ProbeResult)>>,
}

impl OpenAccess {
    pub fn new(client: Arc<UpstreamClient>, upstream: UpstreamAccess) -> Self {
        Self {
            client,
            upstream,
            guard: OpenModeGuard::default(),
            failed: Mutex::new(None),
        }
    }

    /// Records that the registry refused a request: grants in flight are revoked.
    pub async fn record_refusal(&self, refused: &Unauthorized<'_>) {
        self.upstream.forget(refused.granted).await;
        self.record_contradiction();
    }

    /// Whether every caller may mount, as far as is known.
    pub fn is_undisputed(&self) -> bool {
        self.guard.allows_open_mode()
    }

    fn record_contradiction(&self) {
        self.client.registry_state().record_write_refused();
        if self.guard.record_contradiction() {
            tracing::error!(
                "access.mode is none, but the registry refuses a request: it is asked about \
                 every mount now; set access.mode to upstream"
            );
        }
    }

    pub async fn decide(&self, request: &AuthRequest<'_>) -> (AuthDecision, DecidedBy) {
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
