//! Access decided by crossmount itself, as long as the registry confirms it.
//!
//! A verifier checks the caller's credentials, and returns the credential key on which its decision
//! rests. The registry is probed in three cases only. If the verifier cannot decide. Once in the
//! few seconds for which a probe counts, so that it is writable and confirms the key. And for every
//! mount by a key that it has refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::auth::confirmations::UpstreamConfirmations;
use crate::auth::decision::{Allowed, AuthDecision, LocalDecision};
use crate::auth::grant::{Basis, Lease, Proof};
use crate::auth::htpasswd::HtpasswdVerifier;
use crate::auth::jwt::TokenVerifier;
use crate::auth::upstream::{UpstreamAccess, without_decision};
use crate::auth::{AuthRequest, Unauthorized, denial};
use crate::telemetry::labels::{AccessResult, DecidedBy};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{ProbeResult, UpstreamClient};
use crate::util::Fingerprint;
use crate::util::blocking_pool::JobError;

/// Callers whose probes may be in flight at once. More than one, so that a caller whose probe gets
/// no useful response does not delay all other callers.
const ASKING_AT_ONCE: usize = 4;

/// Verifies credentials by the operator's files.
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

    /// The key of credentials that were recently valid here, without a look at any file.
    async fn cached_decision(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        match self {
            Self::Token(verifier) => verifier.cached_decision(refused).await,
            Self::Htpasswd(verifier) => verifier.cached_decision(refused).await,
        }
    }

    /// The key of credentials that are valid here, by the files as they are now, though the
    /// registry refused them.
    async fn forget(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        match self {
            Self::Token(verifier) => verifier.forget(refused).await,
            Self::Htpasswd(verifier) => verifier.forget(refused).await,
        }
    }

    /// Checks the operator's files before the next decision.
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
    /// The registry's confirmation of a key counts for `decision_ttl`.
    pub(crate) fn new(
        verifier: LocalVerifier,
        client: Arc<UpstreamClient>,
        upstream: UpstreamAccess,
        decision_ttl: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            verifier,
            upstream,
            client,
            confirmations: UpstreamConfirmations::new(decision_ttl),
            turns: Semaphore::new(ASKING_AT_ONCE),
            metrics,
        }
    }

    /// Every user of an htpasswd file may do everything.
    pub(crate) fn lets_users_pull_everything(&self) -> bool {
        matches!(self.verifier, LocalVerifier::Htpasswd(_))
    }

    pub(crate) async fn decide(&self, request: &AuthRequest<'_>) -> (AuthDecision, DecidedBy) {
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

    /// Records that the registry refused credentials; returns whether they are valid here.
    ///
    /// If the registry no longer accepts a caller, it refuses the push's other requests too, which
    /// are forwarded. So a caller whose mounts crossmount confirms is noticed.
    pub(crate) async fn record_refusal(&self, refused: &Unauthorized<'_>) -> bool {
        self.upstream.forget(refused.granted).await;
        let Some(key) = self.verifier.cached_decision(refused).await else {
            return false;
        };
        self.confirmations.forget_confirmation(&key);
        let credential_key = self.verifier.forget(refused).await;
        if let Some(credential_key) = credential_key {
            self.refused(credential_key);
        }
        credential_key.is_some()
    }

    /// Grants what the verifier allows, if the registry is writable and confirms it too.
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
                    // It was refused to another caller meanwhile.
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

    /// Rereads the operator's files: the registry may already know a change.
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

    /// Lets the registry decide, as long as it contradicts crossmount.
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

    /// Records that the registry refused a confirmed key: grants in flight are revoked.
    fn refused(&self, credential_key: Fingerprint) {
        if self.confirmations.record_refusal(credential_key) {
            tracing::error!(
                mode = self.verifier.decided_by().as_ref(),
                hint = "make access.mode and its files agree with the registry's configuration",
                "access decision contradicted by the registry"
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
