//! The registry decides, asked with the caller's own credentials, and remembered for seconds.

use std::sync::Arc;
use std::time::Duration;

use super::asking::Asking;
use super::credentials::Scheme;
use super::unverified::Unverified;
use super::validity::Validity;
use super::{Basis, Proof, Verdict, Wish, refusal};
use crate::memory::{Kept, Memory};
use crate::upstream::ProbeAnswer;

/// Decisions that are remembered.
const REMEMBERED: u64 = 16 * 1024;
/// How long a refusal is remembered.
const REFUSAL_COUNTS_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct UpstreamAccess {
    asking: Arc<Asking>,
    decisions: Memory<Decision>,
    remembered_for: Duration,
}

/// What the registry decided.
#[derive(Debug, Clone)]
enum Decision {
    Allowed(Validity),
    Refused,
    /// Refused to a token that the registry has verified.
    Insufficient,
}

impl UpstreamAccess {
    /// Remembers a decision in a caller's favour for `remembered_for`.
    pub fn new(asking: Arc<Asking>, remembered_for: Duration) -> Self {
        Self {
            asking,
            decisions: Memory::new(REMEMBERED),
            remembered_for,
        }
    }

    pub async fn decide(&self, wish: &Wish<'_>) -> (Verdict, &'static str) {
        let Some(header) = wish.credentials.header() else {
            return (Verdict::NoCredentials, "upstream");
        };
        let question = wish.question("decision", header.as_bytes());
        match self.decisions.get(&question).await {
            Some(Decision::Refused) => return (refused(wish, false), "memory"),
            Some(Decision::Insufficient) => return (refused(wish, true), "memory"),
            // A decision says nothing about the registry being writable.
            Some(Decision::Allowed(validity)) if self.is_usable(&validity) => {
                let basis = Basis::new(Proof::RememberedProbe, Some(question));
                return (grant(wish, basis, validity), "memory");
            }
            Some(Decision::Allowed(_)) => self.decisions.forget(&question).await,
            None => {}
        }
        let asked = self.decisions.get_or_ask(question, self.ask(wish));
        let verdict = match tokio::time::timeout_at(wish.deadline, asked).await {
            Ok(Ok(Decision::Allowed(validity))) => {
                let basis = Basis::new(Proof::UpstreamProbe, Some(question));
                grant(wish, basis, validity)
            }
            Ok(Ok(Decision::Refused)) => refused(wish, false),
            Ok(Ok(Decision::Insufficient)) => refused(wish, true),
            Ok(Err(answer)) => no_decision(*answer),
            Err(_) => Verdict::TimedOut,
        };
        (verdict, "upstream")
    }

    /// The registry refused what it had allowed.
    pub async fn forget(&self, granted: Option<&Basis>) {
        let Some(question) = granted.and_then(|basis| basis.question) else {
            return;
        };
        if let Some(Decision::Allowed(validity)) = self.decisions.get(&question).await {
            validity.withdraw();
        }
        self.decisions.forget(&question).await;
    }

    fn is_usable(&self, validity: &Validity) -> bool {
        let standing = self.asking.standing();
        standing.stays_writable() && validity.will_hold(standing)
    }

    async fn ask(&self, wish: &Wish<'_>) -> Result<Kept<Decision>, ProbeAnswer> {
        // It counts from the question on: the registry may have answered at once.
        let ticket = self.asking.standing().ticket();
        let (answer, lifetime) = match self.asking.probe(wish).await {
            ProbeAnswer::Writable => {
                let whole = self.lifetime(wish);
                let validity = Validity::new(ticket, whole);
                let lifetime = whole.saturating_sub(validity.age());
                (Decision::Allowed(validity), lifetime)
            }
            ProbeAnswer::Refused => (Decision::Refused, REFUSAL_COUNTS_FOR),
            ProbeAnswer::Insufficient => (Decision::Insufficient, REFUSAL_COUNTS_FOR),
            answer => return Err(answer),
        };
        Ok(Kept { answer, lifetime })
    }

    fn lifetime(&self, wish: &Wish<'_>) -> Duration {
        let token = match wish.credentials.scheme() {
            Scheme::Bearer(token) => Unverified::read(token).lifetime(),
            Scheme::None | Scheme::Basic(_) | Scheme::Other => None,
        };
        token.map_or(self.remembered_for, |left| left.min(self.remembered_for))
    }
}

fn grant(wish: &Wish<'_>, basis: Basis, validity: Validity) -> Verdict {
    Verdict::Granted(wish.grant(wish.credentials.claimed_user(), basis, validity))
}

fn refused(wish: &Wish<'_>, is_verified: bool) -> Verdict {
    Verdict::Refused(refusal::word(wish, is_verified))
}

/// What a probe's answer means that decides nothing about rights.
pub(super) fn no_decision(answer: ProbeAnswer) -> Verdict {
    match answer {
        ProbeAnswer::ReadOnly => Verdict::ReadOnly,
        ProbeAnswer::TimedOut => Verdict::TimedOut,
        ProbeAnswer::Writable
        | ProbeAnswer::Refused
        | ProbeAnswer::Insufficient
        | ProbeAnswer::Unreachable
        | ProbeAnswer::Broken
        | ProbeAnswer::Strange => Verdict::Unavailable,
    }
}
