//! The registry decides, asked with the caller's own credentials, and remembered for seconds.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::claims::UnverifiedClaims;
use crate::auth::credentials::CredentialScheme;
use crate::auth::decision::AuthDecision;
use crate::auth::grant::Lease;
use crate::auth::grant::{Basis, Proof};
use crate::auth::{AuthRequest, denial};
use crate::telemetry::labels::DecidedBy;
use crate::upstream::{ProbeResult, UpstreamClient};
use crate::util::{Entry, TtlCache};

/// Decisions that are remembered.
const REMEMBERED: u64 = 16 * 1024;
/// How long a refusal is remembered.
const REFUSAL_COUNTS_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct UpstreamAccess {
    client: Arc<UpstreamClient>,
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
    pub fn new(client: Arc<UpstreamClient>, remembered_for: Duration) -> Self {
        Self {
            client,
            decisions: TtlCache::new(REMEMBERED),
            remembered_for,
        }
    }

    pub async fn decide(&self, request: &AuthRequest<'_>) -> (AuthDecision, DecidedBy) {
        let Some(header) = request.credentials.header() else {
            return (AuthDecision::NoCredentials, DecidedBy::Upstream);
        };
        let question = request.cache_key("decision", header.as_bytes());
        match self.decisions.get(&question).await {
            Some(UpstreamDecision::Refused) => return (refused(request, false), DecidedBy::Memory),
            Some(UpstreamDecision::Insufficient) => {
                return (refused(request, true), DecidedBy::Memory);
            }
            // A decision says nothing about the registry being writable.
            Some(UpstreamDecision::Allowed(lease)) if self.is_usable(&lease) => {
                let basis = Basis::new(Proof::RememberedProbe, Some(question));
                return (grant(request, basis, lease), DecidedBy::Memory);
            }
            Some(UpstreamDecision::Allowed(_)) => self.decisions.forget(&question).await,
            None => {}
        }
        let asked = self
            .decisions
            .get_or_fetch(question, self.fetch_decision(request));
        let decision = match tokio::time::timeout_at(request.deadline, asked).await {
            Ok(Ok(UpstreamDecision::Allowed(lease))) => {
                let basis = Basis::new(Proof::UpstreamProbe, Some(question));
                grant(request, basis, lease)
            }
            Ok(Ok(UpstreamDecision::Refused)) => refused(request, false),
            Ok(Ok(UpstreamDecision::Insufficient)) => refused(request, true),
            Ok(Err(answer)) => without_decision(*answer),
            Err(_) => AuthDecision::TimedOut,
        };
        (decision, DecidedBy::Upstream)
    }

    /// The registry refused what it had allowed.
    pub async fn forget(&self, granted: Option<&Basis>) {
        let Some(question) = granted.and_then(|basis| basis.question) else {
            return;
        };
        if let Some(UpstreamDecision::Allowed(lease)) = self.decisions.get(&question).await {
            lease.revoke();
        }
        self.decisions.forget(&question).await;
    }

    fn is_usable(&self, lease: &Lease) -> bool {
        let registry_state = self.client.registry_state();
        registry_state.is_writable_for_new_link() && lease.has_time_left(registry_state)
    }

    async fn fetch_decision(
        &self,
        request: &AuthRequest<'_>,
    ) -> Result<Entry<UpstreamDecision>, ProbeResult> {
        // It counts from the question on: the registry may have answered at once.
        let observation = self.client.registry_state().observe();
        let (answer, lifetime) = match self.client.probe_mount(&request.probe()).await {
            ProbeResult::Writable => {
                let whole = self.lifetime(request);
                let lease = Lease::new(observation, whole);
                let lifetime = whole.saturating_sub(lease.age());
                (UpstreamDecision::Allowed(lease), lifetime)
            }
            ProbeResult::Refused => (UpstreamDecision::Refused, REFUSAL_COUNTS_FOR),
            ProbeResult::Insufficient => (UpstreamDecision::Insufficient, REFUSAL_COUNTS_FOR),
            answer => return Err(answer),
        };
        Ok(Entry { answer, lifetime })
    }

    fn lifetime(&self, request: &AuthRequest<'_>) -> Duration {
        let token = match request.credentials.scheme() {
            CredentialScheme::Bearer(token) => UnverifiedClaims::read(token).lifetime(),
            CredentialScheme::None | CredentialScheme::Basic(_) | CredentialScheme::Other => None,
        };
        token.map_or(self.remembered_for, |left| left.min(self.remembered_for))
    }
}

fn grant(request: &AuthRequest<'_>, basis: Basis, lease: Lease) -> AuthDecision {
    AuthDecision::Granted(request.grant(request.credentials.claimed_user(), basis, lease))
}

fn refused(request: &AuthRequest<'_>, is_verified: bool) -> AuthDecision {
    AuthDecision::Refused(denial::denial_for(request, is_verified))
}

/// What a probe's answer means that decides nothing about rights.
pub(crate) fn without_decision(answer: ProbeResult) -> AuthDecision {
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
