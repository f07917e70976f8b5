//! A registry without access control: everybody may, as long as it says so itself.
//!
//! The registry is asked without any credentials, at most once in the few seconds that its
//! answer counts. A registry that refuses anybody anything has access control after all: from
//! then on it decides about every mount, until it has refused nobody for a while and allows a
//! mount without credentials.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::auth::asking::Asking;
use crate::auth::decision::AuthDecision;
use crate::auth::grant::{Basis, Proof};
use crate::auth::lease::Lease;
use crate::auth::open_mode_guard::OpenModeGuard;
use crate::auth::upstream::{UpstreamAccess, no_decision};
use crate::auth::{AuthRequest, Unauthorized};
use crate::upstream::{Observation, PROBE_COUNTS_FOR, ProbeResult};

/// How long a question without a useful answer is not asked again.
const FAILED_COUNTS_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct OpenAccess {
    asking: Arc<Asking>,
    upstream: UpstreamAccess,
    agreement: OpenModeGuard,
    /// Held while asking, so that equal questions at once are one; the last useless answer.
    failed: Mutex<Option<(Instant, ProbeResult)>>,
}

impl OpenAccess {
    pub fn new(asking: Arc<Asking>, upstream: UpstreamAccess) -> Self {
        Self {
            asking,
            upstream,
            agreement: OpenModeGuard::default(),
            failed: Mutex::new(None),
        }
    }

    /// The registry refused somebody something: grants that are on their way are withdrawn.
    pub async fn registry_refused(&self, refused: &Unauthorized<'_>) {
        self.upstream.forget(refused.granted).await;
        self.contradicted();
    }

    /// Whether everybody may, for all that is known.
    pub fn is_undisputed(&self) -> bool {
        self.agreement.holds()
    }

    fn contradicted(&self) {
        self.asking.standing().refused_write();
        if self.agreement.contradicted() {
            tracing::error!(
                "access.mode is none, but the registry refuses a request: it is asked about \
                 every mount now; set access.mode to upstream"
            );
        }
    }

    pub async fn decide(&self, wish: &AuthRequest<'_>) -> (AuthDecision, &'static str) {
        if self.agreement.is_in_dispute() {
            return self.upstream.decide(wish).await;
        }
        (self.decide_for_all(wish).await, "none")
    }

    async fn decide_for_all(&self, wish: &AuthRequest<'_>) -> AuthDecision {
        let ticket = self.asking.standing().ticket();
        if self.is_proved_open() {
            return grant(wish, ticket);
        }
        let Ok(mut failed) = tokio::time::timeout_at(wish.deadline, self.failed.lock()).await
        else {
            return AuthDecision::TimedOut;
        };
        let ticket = self.asking.standing().ticket();
        if self.is_proved_open() {
            return grant(wish, ticket);
        }
        let answer = match *failed {
            Some((at, answer)) if at.elapsed() < FAILED_COUNTS_FOR => answer,
            _ => {
                let answer = self.asking.probe_without_credentials(wish).await;
                *failed = is_useless(answer).then(|| (Instant::now(), answer));
                answer
            }
        };
        match answer {
            ProbeResult::Writable if self.agreement.confirmed() => grant(wish, ticket),
            // It refused somebody while it was asked.
            ProbeResult::Writable => AuthDecision::Mismatch,
            ProbeResult::Refused | ProbeResult::Insufficient => {
                self.contradicted();
                AuthDecision::Mismatch
            }
            answer => no_decision(answer),
        }
    }

    /// Whether the registry's word counts still for a moment, and it has refused nobody since the start.
    fn is_proved_open(&self) -> bool {
        self.agreement.holds() && self.asking.standing().stays_writable()
    }
}

/// Whether an answer says nothing, and would say no more to somebody else who asked at once. A
/// strange one may be owed to the names in the question.
fn is_useless(answer: ProbeResult) -> bool {
    matches!(
        answer,
        ProbeResult::Unreachable | ProbeResult::Broken | ProbeResult::TimedOut
    )
}

/// It counts as long as the registry's word from before `ticket`.
fn grant(wish: &AuthRequest<'_>, ticket: Observation) -> AuthDecision {
    let basis = Basis::new(Proof::NoAccessControl, None);
    let validity = Lease::new(ticket, PROBE_COUNTS_FOR);
    AuthDecision::Granted(wish.grant(None, basis, validity))
}
