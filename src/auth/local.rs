//! Decided here, beside a registry that agrees.
//!
//! A judge says what the caller's credentials give, and on what that rests: the voucher. The
//! registry itself is asked only where the judge cannot tell, once in the few seconds for which
//! its word counts, that it is writable and that it vouches too, and about every mount by a
//! voucher that it has refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::auth::asking::Asking;
use crate::auth::confirmations::UpstreamConfirmations;
use crate::auth::decision::AuthDecision;
use crate::auth::grant::{Basis, Proof};
use crate::auth::htpasswd::HtpasswdVerifier;
use crate::auth::jwt::TokenJudge;
use crate::auth::lease::Lease;
use crate::auth::local_decision::{Allowed, LocalDecision};
use crate::auth::upstream::{UpstreamAccess, no_decision};
use crate::auth::{AuthRequest, Unauthorized, denial};
use crate::telemetry::metrics::Metrics;
use crate::upstream::ProbeResult;
use crate::util::Fingerprint;
use crate::util::blocking_pool::JobError;

/// Callers who ask at once what the registry itself says. More than one, so that a caller
/// whose question has no useful answer does not keep the others from theirs.
const ASKING_AT_ONCE: usize = 4;

/// Judges credentials.
#[derive(Debug)]
pub(crate) enum LocalVerifier {
    Token(TokenJudge),
    Htpasswd(HtpasswdVerifier),
}

#[derive(Debug)]
pub(crate) struct LocalAccess {
    judge: LocalVerifier,
    upstream: UpstreamAccess,
    asking: Arc<Asking>,
    vouchers: UpstreamConfirmations,
    turns: Semaphore,
    metrics: Arc<Metrics>,
}

impl LocalVerifier {
    async fn judge(&self, wish: &AuthRequest<'_>) -> LocalDecision {
        match self {
            Self::Token(judge) => judge.judge(wish).await,
            Self::Htpasswd(judge) => judge.judge(wish).await,
        }
    }

    /// The voucher of credentials that were good here lately, without looking at anything.
    async fn known(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        match self {
            Self::Token(judge) => judge.known(refused).await,
            Self::Htpasswd(judge) => judge.known(refused).await,
        }
    }

    /// The voucher of credentials that are good here, by the files as they are this moment,
    /// though the registry does not know them.
    async fn contradicted(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        match self {
            Self::Token(judge) => judge.contradicted(refused).await,
            Self::Htpasswd(judge) => judge.contradicted(refused).await,
        }
    }

    /// Looks at the operator's files before the next judgement.
    fn doubt(&self) {
        match self {
            Self::Token(judge) => judge.doubt(),
            Self::Htpasswd(judge) => judge.doubt(),
        }
    }

    fn proof(&self) -> Proof {
        match self {
            Self::Token(_) => Proof::Token,
            Self::Htpasswd(_) => Proof::Htpasswd,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Htpasswd(_) => "htpasswd",
        }
    }
}

impl LocalAccess {
    /// The registry's yes to a voucher counts for `remembered_for`.
    pub fn new(
        judge: LocalVerifier,
        asking: Arc<Asking>,
        upstream: UpstreamAccess,
        remembered_for: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            judge,
            upstream,
            asking,
            vouchers: UpstreamConfirmations::new(remembered_for),
            turns: Semaphore::new(ASKING_AT_ONCE),
            metrics,
        }
    }

    /// Whoever is in a password file may do everything.
    pub fn lets_users_pull_everything(&self) -> bool {
        matches!(self.judge, LocalVerifier::Htpasswd(_))
    }

    pub async fn decide(&self, wish: &AuthRequest<'_>) -> (AuthDecision, &'static str) {
        let via = self.judge.name();
        if wish.credentials.header().is_none() {
            return (AuthDecision::NoCredentials, via);
        }
        let allowed = match self.judge.judge(wish).await {
            LocalDecision::Allowed(allowed) => allowed,
            LocalDecision::Insufficient => return (refused(wish, true), via),
            LocalDecision::Denied => return (refused(wish, false), via),
            LocalDecision::Unfinished(unfinished) => return (not_in_time(unfinished), via),
            LocalDecision::Unknown => {
                self.metrics.access_decision("unknown", via);
                return self.upstream.decide(wish).await;
            }
        };
        if self.vouchers.is_in_dispute(&allowed.voucher) {
            return self.leave_to_registry(wish, allowed.voucher).await;
        }
        (self.confirm(wish, allowed).await, via)
    }

    /// The registry refused somebody; returns whether the credentials are good here.
    ///
    /// A caller whose mounts are answered here is refused in passing, with the push's other
    /// requests, if the registry does not know the credentials any more.
    pub async fn registry_refused(&self, refused: &Unauthorized<'_>) -> bool {
        self.upstream.forget(refused.granted).await;
        let Some(known) = self.judge.known(refused).await else {
            return false;
        };
        self.vouchers.forget_yes(&known);
        let voucher = self.judge.contradicted(refused).await;
        if let Some(voucher) = voucher {
            self.refused(voucher);
        }
        voucher.is_some()
    }

    /// Grants what the judge allows, if the registry is writable and vouches too.
    async fn confirm(&self, wish: &AuthRequest<'_>, allowed: Allowed) -> AuthDecision {
        if let Some(validity) = self.confirmed(&allowed) {
            return self.grant(wish, allowed, validity);
        }
        let Ok(turn) = tokio::time::timeout_at(wish.deadline, self.turns.acquire()).await else {
            return AuthDecision::TimedOut;
        };
        if let Some(validity) = self.confirmed(&allowed) {
            return self.grant(wish, allowed, validity);
        }
        let ticket = self.asking.standing().ticket();
        let answer = self.asking.probe(wish).await;
        drop(turn);
        match answer {
            ProbeResult::Writable => match self.vouchers.confirmed(allowed.voucher, ticket) {
                Some(validity) => self.grant(wish, allowed, validity),
                // It was refused to somebody else meanwhile.
                None => AuthDecision::Mismatch,
            },
            ProbeResult::Refused | ProbeResult::Insufficient => {
                self.vouchers.forget_yes(&allowed.voucher);
                self.refused_although_allowed(wish).await
            }
            answer => no_decision(answer),
        }
    }

    fn confirmed(&self, allowed: &Allowed) -> Option<Lease> {
        let standing = self.asking.standing();
        let validity = self.vouchers.yes(&allowed.voucher, standing)?;
        standing.stays_writable().then_some(validity)
    }

    fn grant(&self, wish: &AuthRequest<'_>, allowed: Allowed, validity: Lease) -> AuthDecision {
        let basis = Basis::new(self.judge.proof(), None);
        let validity = validity.no_longer_than(allowed.until);
        AuthDecision::Granted(wish.grant(allowed.user, basis, validity))
    }

    /// The registry may know already what changed in its files a moment ago.
    async fn refused_although_allowed(&self, wish: &AuthRequest<'_>) -> AuthDecision {
        self.judge.doubt();
        match self.judge.judge(wish).await {
            LocalDecision::Allowed(allowed) => {
                self.refused(allowed.voucher);
                AuthDecision::Mismatch
            }
            LocalDecision::Insufficient => refused(wish, true),
            LocalDecision::Denied => refused(wish, false),
            LocalDecision::Unknown => AuthDecision::Mismatch,
            LocalDecision::Unfinished(unfinished) => not_in_time(unfinished),
        }
    }

    /// While the two disagree, the registry decides.
    async fn leave_to_registry(
        &self,
        wish: &AuthRequest<'_>,
        voucher: Fingerprint,
    ) -> (AuthDecision, &'static str) {
        let (verdict, via) = self.upstream.decide(wish).await;
        if let AuthDecision::Refused(_) = verdict {
            self.refused(voucher);
            return (AuthDecision::Mismatch, via);
        }
        (verdict, via)
    }

    /// The registry refused what rests on a voucher: grants that are on their way are withdrawn.
    fn refused(&self, voucher: Fingerprint) {
        if self.vouchers.refused(voucher) {
            tracing::error!(
                mode = self.judge.name(),
                "the registry refuses what is allowed here: it is asked about every mount by such \
                 credentials now; do access.mode and its files agree with the registry's own \
                 configuration?"
            );
        }
    }
}

fn refused(wish: &AuthRequest<'_>, is_verified: bool) -> AuthDecision {
    AuthDecision::Refused(denial::word(wish, is_verified))
}

fn not_in_time(unfinished: JobError) -> AuthDecision {
    match unfinished {
        JobError::Overload => AuthDecision::Overloaded,
        JobError::Deadline => AuthDecision::TimedOut,
        JobError::Panicked => AuthDecision::Unavailable,
    }
}
