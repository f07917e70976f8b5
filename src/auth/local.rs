//! Decided here, beside a registry that agrees.
//!
//! A judge says what the caller's credentials give, and on what that rests: the voucher. The
//! registry itself is asked only where the judge cannot tell, once in the few seconds for which
//! its word counts, that it is writable and that it vouches too, and about every mount by a
//! voucher that it has refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::auth::confirmations::UpstreamConfirmations;
use crate::auth::decision::AuthDecision;
use crate::auth::grant::Lease;
use crate::auth::grant::{Basis, Proof};
use crate::auth::htpasswd::HtpasswdVerifier;
use crate::auth::jwt::TokenVerifier;
use crate::auth::local_decision::{Allowed, LocalDecision};
use crate::auth::upstream::{UpstreamAccess, without_decision};
use crate::auth::{AuthRequest, Unauthorized, denial};
use crate::telemetry::labels::{AccessResult, DecidedBy};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{ProbeResult, UpstreamClient};
use crate::util::Fingerprint;
use crate::util::blocking_pool::JobError;

/// Callers who ask at once what the registry itself says. More than one, so that a caller
/// whose question has no useful answer does not keep the others from theirs.
const ASKING_AT_ONCE: usize = 4;

/// Judges credentials.
#[derive(Debug)]
pub(in crate::auth) enum LocalVerifier {
    Token(TokenVerifier),
    Htpasswd(HtpasswdVerifier),
}

#[derive(Debug)]
pub(crate) struct LocalAccess {
    verifier: LocalVerifier,
    upstream: UpstreamAccess,
    client: Arc<UpstreamClient>,
    confirmations: UpstreamConfirmations,
    turns: Semaphore,
    metrics: Arc<Metrics>,
}

impl LocalVerifier {
    async fn verify(&self, request: &AuthRequest<'_>) -> LocalDecision {
        match self {
            Self::Token(verifier) => verifier.verify_request(request).await,
            Self::Htpasswd(verifier) => verifier.verify(request).await,
        }
    }

    /// The voucher of credentials that were good here lately, without looking at anything.
    async fn cached_decision(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        match self {
            Self::Token(verifier) => verifier.cached_decision(refused).await,
            Self::Htpasswd(verifier) => verifier.cached_decision(refused).await,
        }
    }

    /// The voucher of credentials that are good here, by the files as they are this moment,
    /// though the registry does not know them.
    async fn forget(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        match self {
            Self::Token(verifier) => verifier.forget(refused).await,
            Self::Htpasswd(verifier) => verifier.forget(refused).await,
        }
    }

    /// Looks at the operator's files before the next judgement.
    fn invalidate(&self) {
        match self {
            Self::Token(verifier) => verifier.invalidate(),
            Self::Htpasswd(verifier) => verifier.invalidate(),
        }
    }

    fn proof(&self) -> Proof {
        match self {
            Self::Token(_) => Proof::Token,
            Self::Htpasswd(_) => Proof::Htpasswd,
        }
    }

    fn decided_by(&self) -> DecidedBy {
        match self {
            Self::Token(_) => DecidedBy::Token,
            Self::Htpasswd(_) => DecidedBy::Htpasswd,
        }
    }
}

impl LocalAccess {
    /// The registry's yes to a voucher counts for `remembered_for`.
    pub fn new(
        verifier: LocalVerifier,
        client: Arc<UpstreamClient>,
        upstream: UpstreamAccess,
        remembered_for: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            verifier,
            upstream,
            client,
            confirmations: UpstreamConfirmations::new(remembered_for),
            turns: Semaphore::new(ASKING_AT_ONCE),
            metrics,
        }
    }

    /// Whoever is in a password file may do everything.
    pub fn lets_users_pull_everything(&self) -> bool {
        matches!(self.verifier, LocalVerifier::Htpasswd(_))
    }

    pub async fn decide(&self, request: &AuthRequest<'_>) -> (AuthDecision, DecidedBy) {
        let via = self.verifier.decided_by();
        if request.credentials.header().is_none() {
            return (AuthDecision::NoCredentials, via);
        }
        let allowed = match self.verifier.verify(request).await {
            LocalDecision::Allowed(allowed) => allowed,
            LocalDecision::Insufficient => return (refused(request, true), via),
            LocalDecision::Denied => return (refused(request, false), via),
            LocalDecision::Unfinished(unfinished) => {
                return (decision_without_verifier(unfinished), via);
            }
            LocalDecision::Unknown => {
                self.metrics.access_decision(AccessResult::Unknown, via);
                return self.upstream.decide(request).await;
            }
        };
        if self.confirmations.is_in_dispute(&allowed.credential_key) {
            return self.decide_upstream(request, allowed.credential_key).await;
        }
        (self.confirm_upstream(request, allowed).await, via)
    }

    /// The registry refused somebody; returns whether the credentials are good here.
    ///
    /// A caller whose mounts are answered here is refused in passing, with the push's other
    /// requests, if the registry does not know the credentials any more.
    pub async fn record_refusal(&self, refused: &Unauthorized<'_>) -> bool {
        self.upstream.forget(refused.granted).await;
        let Some(known) = self.verifier.cached_decision(refused).await else {
            return false;
        };
        self.confirmations.forget_confirmation(&known);
        let credential_key = self.verifier.forget(refused).await;
        if let Some(credential_key) = credential_key {
            self.refused(credential_key);
        }
        credential_key.is_some()
    }

    /// Grants what the judge allows, if the registry is writable and vouches too.
    async fn confirm_upstream(&self, request: &AuthRequest<'_>, allowed: Allowed) -> AuthDecision {
        if let Some(lease) = self.grant_if_confirmed(&allowed) {
            return self.grant(request, allowed, lease);
        }
        let Ok(turn) = tokio::time::timeout_at(request.deadline, self.turns.acquire()).await else {
            return AuthDecision::TimedOut;
        };
        if let Some(lease) = self.grant_if_confirmed(&allowed) {
            return self.grant(request, allowed, lease);
        }
        let observation = self.client.registry_state().observe();
        let answer = self.client.probe_mount(&request.probe()).await;
        drop(turn);
        match answer {
            ProbeResult::Writable => {
                match self
                    .confirmations
                    .record_confirmation(allowed.credential_key, observation)
                {
                    Some(lease) => self.grant(request, allowed, lease),
                    // It was refused to somebody else meanwhile.
                    None => AuthDecision::Mismatch,
                }
            }
            ProbeResult::Refused | ProbeResult::Insufficient => {
                self.confirmations
                    .forget_confirmation(&allowed.credential_key);
                self.refused_although_allowed(request).await
            }
            answer => without_decision(answer),
        }
    }

    fn grant_if_confirmed(&self, allowed: &Allowed) -> Option<Lease> {
        let registry_state = self.client.registry_state();
        let lease = self
            .confirmations
            .current_confirmation(&allowed.credential_key, registry_state)?;
        registry_state.is_writable_for_new_link().then_some(lease)
    }

    fn grant(&self, request: &AuthRequest<'_>, allowed: Allowed, lease: Lease) -> AuthDecision {
        let basis = Basis::new(self.verifier.proof(), None);
        let lease = lease.limited_to(allowed.until);
        AuthDecision::Granted(request.grant(allowed.user, basis, lease))
    }

    /// The registry may know already what changed in its files a moment ago.
    async fn refused_although_allowed(&self, request: &AuthRequest<'_>) -> AuthDecision {
        self.verifier.invalidate();
        match self.verifier.verify(request).await {
            LocalDecision::Allowed(allowed) => {
                self.refused(allowed.credential_key);
                AuthDecision::Mismatch
            }
            LocalDecision::Insufficient => refused(request, true),
            LocalDecision::Denied => refused(request, false),
            LocalDecision::Unknown => AuthDecision::Mismatch,
            LocalDecision::Unfinished(unfinished) => decision_without_verifier(unfinished),
        }
    }

    /// While the two disagree, the registry decides.
    async fn decide_upstream(
        &self,
        request: &AuthRequest<'_>,
        credential_key: Fingerprint,
    ) -> (AuthDecision, DecidedBy) {
        let (decision, via) = self.upstream.decide(request).await;
        if let AuthDecision::Refused(_) = decision {
            self.refused(credential_key);
            return (AuthDecision::Mismatch, via);
        }
        (decision, via)
    }

    /// The registry refused what rests on a voucher: grants that are on their way are withdrawn.
    fn refused(&self, credential_key: Fingerprint) {
        if self.confirmations.record_refusal(credential_key) {
            tracing::error!(
                mode = self.verifier.decided_by().as_ref(),
                "the registry refuses what is allowed here: it is asked about every mount by such \
                 credentials now; do access.mode and its files agree with the registry's own \
                 configuration?"
            );
        }
    }
}

fn refused(request: &AuthRequest<'_>, is_verified: bool) -> AuthDecision {
    AuthDecision::Refused(denial::denial_for(request, is_verified))
}

fn decision_without_verifier(unfinished: JobError) -> AuthDecision {
    match unfinished {
        JobError::Overload => AuthDecision::Overloaded,
        JobError::Deadline => AuthDecision::TimedOut,
        JobError::Panicked => AuthDecision::Unavailable,
    }
}
