//! The registry decides: it is probed with the caller's own credentials, and the decision is cached
//! for seconds.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::claims::UnverifiedClaims;
use crate::auth::credentials::CredentialScheme;
use crate::auth::decision::AuthDecision;
use crate::auth::grant::{Basis, Lease, Proof};
use crate::auth::{AuthRequest, denial};
use crate::telemetry::labels::DecidedBy;
use crate::upstream::{ProbeResult, UpstreamClient};
use crate::util::{Entry, TtlCache};

/// The most decisions in the cache.
const REMEMBERED: u64 = 16 * 1024;
/// How long a refusal is cached.
const REFUSAL_COUNTS_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct UpstreamAccess {
    client: Arc<UpstreamClient>,
    decisions: TtlCache<UpstreamDecision>,
    decision_ttl: Duration,
}

/// The registry's decision.
#[derive(Debug, Clone)]
enum UpstreamDecision {
    Allowed(Lease),
    Refused,
    /// Refused to a token that the registry has verified.
    Insufficient,
}

impl UpstreamAccess {
    /// A permission is cached for `decision_ttl`.
    pub(crate) fn new(client: Arc<UpstreamClient>, decision_ttl: Duration) -> Self {
        Self {
            client,
            decisions: TtlCache::new(REMEMBERED),
            decision_ttl,
        }
    }

    pub(crate) async fn decide(&self, request: &AuthRequest<'_>) -> (AuthDecision, DecidedBy) {
        let Some(header) = request.credentials.header() else {
            return (AuthDecision::NoCredentials, DecidedBy::Upstream);
        };
        let cache_key = request.cache_key("decision", header.as_bytes());
        match self.decisions.get(&cache_key).await {
            Some(UpstreamDecision::Refused) => return (refused(request, false), DecidedBy::Memory),
            Some(UpstreamDecision::Insufficient) => {
                return (refused(request, true), DecidedBy::Memory);
            }
            // A cached decision says nothing about write availability.
            Some(UpstreamDecision::Allowed(lease)) if self.is_usable(&lease) => {
                let basis = Basis::new(Proof::RememberedProbe, Some(cache_key));
                return (grant(request, basis, lease), DecidedBy::Memory);
            }
            Some(UpstreamDecision::Allowed(_)) => self.decisions.forget(&cache_key).await,
            None => {}
        }
        let asked = self
            .decisions
            .get_or_fetch(cache_key, self.fetch_decision(request));
        let decision = match tokio::time::timeout_at(request.deadline, asked).await {
            Ok(Ok(UpstreamDecision::Allowed(lease))) => {
                let basis = Basis::new(Proof::UpstreamProbe, Some(cache_key));
                grant(request, basis, lease)
            }
            Ok(Ok(UpstreamDecision::Refused)) => refused(request, false),
            Ok(Ok(UpstreamDecision::Insufficient)) => refused(request, true),
            Ok(Err(answer)) => without_decision(*answer),
            Err(_) => AuthDecision::TimedOut,
        };
        (decision, DecidedBy::Upstream)
    }

    /// Forgets a permission that the registry contradicted.
    pub(crate) async fn forget(&self, granted: Option<&Basis>) {
        let Some(cache_key) = granted.and_then(|basis| basis.cache_key) else {
            return;
        };
        if let Some(UpstreamDecision::Allowed(lease)) = self.decisions.get(&cache_key).await {
            lease.revoke();
        }
        self.decisions.forget(&cache_key).await;
    }

    fn is_usable(&self, lease: &Lease) -> bool {
        let registry_state = self.client.registry_state();
        registry_state.is_writable_for_new_link() && lease.has_time_left(registry_state)
    }

    async fn fetch_decision(
        &self,
        request: &AuthRequest<'_>,
    ) -> Result<Entry<UpstreamDecision>, ProbeResult> {
        // It counts from before the probe: the registry may have decided at any time since.
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
        token.map_or(self.decision_ttl, |left| left.min(self.decision_ttl))
    }
}

fn grant(request: &AuthRequest<'_>, basis: Basis, lease: Lease) -> AuthDecision {
    AuthDecision::Granted(request.grant(request.credentials.claimed_user(), basis, lease))
}

fn refused(request: &AuthRequest<'_>, is_verified: bool) -> AuthDecision {
    AuthDecision::Refused(denial::denial_for(request, is_verified))
}

/// The decision for a probe's response that shows nothing about permissions.
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
