//! A registry without access control: everybody may, as long as it says so itself.
//!
//! The registry is asked without any credentials, at most once in the few seconds that its
//! answer counts. A registry that refuses anybody anything has access control after all: from
//! then on it decides about every mount, until it has refused nobody for a while and allows a
//! mount without credentials.

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

/// How long a question without a useful answer is not asked again.
const FAILED_COUNTS_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct OpenAccess {
    client: Arc<UpstreamClient>,
    upstream: UpstreamAccess,
    guard: OpenModeGuard,
    /// Held while asking, so that equal questions at once are one; the last useless answer.
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

    /// The registry refused somebody something: grants that are on their way are withdrawn.
    pub async fn record_refusal(&self, refused: &Unauthorized<'_>) {
        self.upstream.forget(refused.granted).await;
        self.record_contradiction();
    }

    /// Whether everybody may, for all that is known.
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
            // It refused somebody while it was asked.
            ProbeResult::Writable => AuthDecision::Mismatch,
            ProbeResult::Refused | ProbeResult::Insufficient => {
                self.record_contradiction();
                AuthDecision::Mismatch
            }
            answer => without_decision(answer),
        }
    }

    /// Whether the registry's word counts still for a moment, and it has refused nobody since the start.
    fn has_confirmed_open(&self) -> bool {
        self.guard.allows_open_mode() && self.client.registry_state().is_writable_for_new_link()
    }
}

/// Whether an answer says nothing, and would say no more to somebody else who asked at once. A
/// strange one may be owed to the names in the question.
fn is_inconclusive(answer: ProbeResult) -> bool {
    matches!(
        answer,
        ProbeResult::Unreachable | ProbeResult::Broken | ProbeResult::TimedOut
    )
}

/// It counts as long as the registry's word from before `observation`.
fn grant(request: &AuthRequest<'_>, observation: Observation) -> AuthDecision {
    let basis = Basis::new(Proof::NoAccessControl, None);
    let lease = Lease::new(observation, PROBE_COUNTS_FOR);
    AuthDecision::Granted(request.grant(None, basis, lease))
}
