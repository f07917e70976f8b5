//! Decided here, beside a registry that agrees.
//!
//! A judge says what the caller's credentials give; the registry itself is asked only where the
//! judge cannot tell, once in the few seconds that its word counts, and about every mount once
//! it has refused what the judge allowed.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::agreement::Agreement;
use super::asking::Asking;
use super::htpasswd::HtpasswdJudge;
use super::judgement::Judgement;
use super::token::TokenJudge;
use super::upstream::{UpstreamAccess, no_decision};
use super::{Basis, Proof, Unauthorized, Verdict, Wish, refusal};
use crate::metrics::Metrics;
use crate::upstream::ProbeAnswer;
use crate::workers::Unfinished;

/// Callers who ask at once whether the registry is writable. More than one, so that a caller
/// whose question has no useful answer does not keep the others from theirs.
const ASKING_AT_ONCE: usize = 4;

/// Judges credentials.
#[derive(Debug)]
pub(super) enum Judge {
    Token(TokenJudge),
    Htpasswd(HtpasswdJudge),
}

#[derive(Debug)]
pub(super) struct LocalAccess {
    judge: Judge,
    upstream: UpstreamAccess,
    asking: Arc<Asking>,
    agreement: Agreement,
    turns: Semaphore,
    metrics: Arc<Metrics>,
}

impl Judge {
    async fn judge(&self, wish: &Wish<'_>) -> Judgement {
        match self {
            Self::Token(judge) => judge.judge(wish).await,
            Self::Htpasswd(judge) => judge.judge(wish).await,
        }
    }

    /// Whether credentials are believed here that the registry does not know.
    async fn believes(&self, refused: &Unauthorized<'_>) -> bool {
        match self {
            Self::Token(judge) => refused.is_token_refused && judge.believes(refused).await,
            Self::Htpasswd(judge) => judge.believes(refused).await,
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
    pub fn new(
        judge: Judge,
        asking: Arc<Asking>,
        upstream: UpstreamAccess,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            judge,
            upstream,
            asking,
            agreement: Agreement::default(),
            turns: Semaphore::new(ASKING_AT_ONCE),
            metrics,
        }
    }

    pub async fn decide(&self, wish: &Wish<'_>) -> (Verdict, &'static str) {
        let via = self.judge.name();
        if wish.credentials.header().is_none() {
            return (Verdict::NoCredentials, via);
        }
        let user = match self.judge.judge(wish).await {
            Judgement::Allowed(user) => user,
            Judgement::Denied => return (Verdict::Refused(refusal::word(wish)), via),
            Judgement::Unfinished(unfinished) => return (not_in_time(unfinished), via),
            Judgement::Unknown => {
                self.metrics.access_decision("unknown", via);
                return self.upstream.decide(wish).await;
            }
        };
        if self.agreement.is_in_dispute() {
            return self.leave_to_registry(wish).await;
        }
        (self.confirm(wish, user).await, via)
    }

    /// The registry refused somebody; returns whether it was allowed here.
    ///
    /// A caller whose mounts are answered here is refused in passing, with the push's other
    /// requests, if the registry does not know the credentials any more.
    pub async fn registry_refused(&self, refused: &Unauthorized<'_>) -> bool {
        let is_granted = |basis: &Basis| basis.proof() == self.judge.proof();
        self.upstream.forget(refused.granted).await;
        let contradicts =
            refused.granted.is_some_and(is_granted) || self.judge.believes(refused).await;
        if contradicts {
            self.contradicted();
        }
        contradicts
    }

    /// Grants what the judge allows, if the registry's word counts that it is writable.
    async fn confirm(&self, wish: &Wish<'_>, user: Option<String>) -> Verdict {
        if self.is_confirmed() {
            return self.grant(wish, user);
        }
        let Ok(turn) = tokio::time::timeout_at(wish.deadline, self.turns.acquire()).await else {
            return Verdict::TimedOut;
        };
        if self.is_confirmed() {
            return self.grant(wish, user);
        }
        let answer = self.asking.probe(wish).await;
        drop(turn);
        match answer {
            ProbeAnswer::Writable if self.agreement.confirmed() => self.grant(wish, user),
            // It refused somebody else meanwhile.
            ProbeAnswer::Writable => Verdict::Mismatch,
            ProbeAnswer::Refused => self.refused_although_allowed(wish).await,
            answer => no_decision(answer),
        }
    }

    fn is_confirmed(&self) -> bool {
        self.agreement.holds() && self.asking.standing().is_writable()
    }

    fn grant(&self, wish: &Wish<'_>, user: Option<String>) -> Verdict {
        Verdict::Granted(wish.grant(user, Basis::new(self.judge.proof(), None)))
    }

    /// The registry may know already what changed in its files a moment ago.
    async fn refused_although_allowed(&self, wish: &Wish<'_>) -> Verdict {
        self.judge.doubt();
        match self.judge.judge(wish).await {
            Judgement::Allowed(_) => {
                self.contradicted();
                Verdict::Mismatch
            }
            _ => Verdict::Refused(refusal::word(wish)),
        }
    }

    /// While the two disagree, the registry decides.
    async fn leave_to_registry(&self, wish: &Wish<'_>) -> (Verdict, &'static str) {
        let (verdict, via) = self.upstream.decide(wish).await;
        if let Verdict::Refused(_) = verdict {
            self.contradicted();
            return (Verdict::Mismatch, via);
        }
        (verdict, via)
    }

    /// Grants that are on their way are withdrawn.
    fn contradicted(&self) {
        self.asking.standing().refused_write();
        if self.agreement.contradicted() {
            tracing::error!(
                mode = self.judge.name(),
                "the registry refuses what is allowed here: it is asked about every mount now; \
                 do access.mode and its files agree with the registry's own configuration?"
            );
        }
    }
}

fn not_in_time(unfinished: Unfinished) -> Verdict {
    match unfinished {
        Unfinished::Overload => Verdict::Overloaded,
        Unfinished::Deadline => Verdict::TimedOut,
        Unfinished::Died => Verdict::Unavailable,
    }
}
