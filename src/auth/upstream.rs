//! The registry decides, asked with the caller's own credentials, and remembered for seconds.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::asking::Asking;
use crate::auth::claims::UnverifiedClaims;
use crate::auth::credentials::CredentialScheme;
use crate::auth::decision::AuthDecision;
use crate::auth::grant::{Basis, Proof};
use crate::auth::lease::Lease;
use crate::auth::{AuthRequest, denial};
use crate::upstream::ProbeResult;
use crate::util::{Entry, TtlCache};

/// Decisions that are remembered.
const REMEMBERED: u64 = 16 * 1024;
/// How long a refusal is remembered.
const REFUSAL_COUNTS_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct UpstreamAccess {
    asking: Arc<Asking>,
    decisions: TtlCache<UpstreamDecision>,
    remembered_for: Duration,
}

/// What the registry decided.
#[derive(Debug, Clone)]
enum UpstreamDecision {
    Allowed(Lease),
    Refused,
    /// Refused to a token that the registry has verified.
    Insufficient,
}

impl UpstreamAccess {
    /// Remembers a decision in a caller's favour for `remembered_for`.
    pub fn new(asking: Arc<Asking>, remembered_for: Duration) -> Self {
        Self {
            asking,
            decisions: TtlCache::new(REMEMBERED),
            remembered_for,
        }
    }

    pub async fn decide(&self, wish: &AuthRequest<'_>) -> (AuthDecision, &'static str) {
        let Some(header) = wish.credentials.header() else {
            return (AuthDecision::NoCredentials, "upstream");
        };
        let question = wish.question("decision", header.as_bytes());
        match self.decisions.get(&question).await {
            Some(UpstreamDecision::Refused) => return (refused(wish, false), "memory"),
            Some(UpstreamDecision::Insufficient) => return (refused(wish, true), "memory"),
            // A decision says nothing about the registry being writable.
            Some(UpstreamDecision::Allowed(validity)) if self.is_usable(&validity) => {
                let basis = Basis::new(Proof::RememberedProbe, Some(question));
                return (grant(wish, basis, validity), "memory");
            }
            Some(UpstreamDecision::Allowed(_)) => self.decisions.forget(&question).await,
            None => {}
        }
        let asked = self.decisions.get_or_ask(question, self.ask(wish));
        let verdict = match tokio::time::timeout_at(wish.deadline, asked).await {
            Ok(Ok(UpstreamDecision::Allowed(validity))) => {
                let basis = Basis::new(Proof::UpstreamProbe, Some(question));
                grant(wish, basis, validity)
            }
            Ok(Ok(UpstreamDecision::Refused)) => refused(wish, false),
            Ok(Ok(UpstreamDecision::Insufficient)) => refused(wish, true),
            Ok(Err(answer)) => no_decision(*answer),
            Err(_) => AuthDecision::TimedOut,
        };
        (verdict, "upstream")
    }

    /// The registry refused what it had allowed.
    pub async fn forget(&self, granted: Option<&Basis>) {
        let Some(question) = granted.and_then(|basis| basis.question) else {
            return;
        };
        if let Some(UpstreamDecision::Allowed(validity)) = self.decisions.get(&question).await {
            validity.withdraw();
        }
        self.decisions.forget(&question).await;
    }

    fn is_usable(&self, validity: &Lease) -> bool {
        let standing = self.asking.standing();
        standing.stays_writable() && validity.will_hold(standing)
    }

    async fn ask(&self, wish: &AuthRequest<'_>) -> Result<Entry<UpstreamDecision>, ProbeResult> {
        // It counts from the question on: the registry may have answered at once.
        let ticket = self.asking.standing().ticket();
        let (answer, lifetime) = match self.asking.probe(wish).await {
            ProbeResult::Writable => {
                let whole = self.lifetime(wish);
                let validity = Lease::new(ticket, whole);
                let lifetime = whole.saturating_sub(validity.age());
                (UpstreamDecision::Allowed(validity), lifetime)
            }
            ProbeResult::Refused => (UpstreamDecision::Refused, REFUSAL_COUNTS_FOR),
            ProbeResult::Insufficient => (UpstreamDecision::Insufficient, REFUSAL_COUNTS_FOR),
            answer => return Err(answer),
        };
        Ok(Entry { answer, lifetime })
    }

    fn lifetime(&self, wish: &AuthRequest<'_>) -> Duration {
        let token = match wish.credentials.scheme() {
            CredentialScheme::Bearer(token) => UnverifiedClaims::read(token).lifetime(),
            CredentialScheme::None | CredentialScheme::Basic(_) | CredentialScheme::Other => None,
        };
        token.map_or(self.remembered_for, |left| left.min(self.remembered_for))
    }
}

fn grant(wish: &AuthRequest<'_>, basis: Basis, validity: Lease) -> AuthDecision {
    AuthDecision::Granted(wish.grant(wish.credentials.claimed_user(), basis, validity))
}

fn refused(wish: &AuthRequest<'_>, is_verified: bool) -> AuthDecision {
    AuthDecision::Refused(denial::word(wish, is_verified))
}

/// What a probe's answer means that decides nothing about rights.
pub(crate) fn no_decision(answer: ProbeResult) -> AuthDecision {
    match answer {
        ProbeResult::ReadOnly => AuthDecision::ReadOnly,
        ProbeResult::TimedOut => AuthDecision::TimedOut,
        ProbeResult::Writable
        | ProbeResult::Refused
        | ProbeResult::Insufficient
        | ProbeResult::Unreachable
        | ProbeResult::Broken
        | ProbeResult::Strange => AuthDecision::Unavailable,
    }
}
