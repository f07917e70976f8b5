//! Who may: the only maker of a [`Grant`].
//!
//! A `request` becomes a `decision`. `upstream` asks the registry with the caller's own credentials
//! and remembers for seconds; `local` decides here, by the `decision` of the bearer `token` or
//! the `htpasswd` file, each confirmed by the registry, as `confirmations` remembers; `open` stands for
//! a registry without access control, for which `guard` knows whether it contradicts that.
//! `asking` puts the questions, `refusal` says what a refused caller gets, for which `unverified`
//! reads a token without verifying it, and `pullable` from where something is tried for a caller
//! who names no source. Files are read again when they change. A grant carries its
//! `lease` to the moment when a link becomes visible. Nothing here touches the store: access
//! is decided before the disk is looked at.

pub(crate) mod claims;
mod confirmations;
pub(crate) mod credentials;
mod decision;
mod denial;
mod grant;
pub(crate) mod htpasswd;
pub(crate) mod jwt;
mod local;
pub(crate) mod local_decision;
mod no_auth;
mod open_mode_guard;
mod recent_challenges;
mod request;
mod upstream;
mod usage;

use std::sync::Arc;

use tokio::time::Instant;

pub(crate) use claims::UnverifiedClaims;
pub use credentials::Credentials;
pub use decision::AuthDecision;
pub use denial::{Denial, Denials};
pub use grant::{Basis, Grant, Proof};
pub use usage::{ClaimsTrust, PullScope, UsageHistory, Use};

use crate::auth::htpasswd::HtpasswdVerifier;
use crate::auth::jwt::TokenVerifier;
use crate::auth::local::{LocalAccess, LocalVerifier};
use crate::auth::no_auth::OpenAccess;
use crate::auth::recent_challenges::RecentChallenges;
use crate::auth::request::AuthRequest;
use crate::auth::upstream::UpstreamAccess;
use crate::config::{self, AccessMode};
use crate::oci::{Patterns, RepositoryName};
use crate::telemetry::labels::AccessResult;
use crate::telemetry::metrics::Metrics;
use crate::upstream::UpstreamClient;
use crate::util::file_watch::WatchedFileError;
use crate::util::{Fingerprint, Fingerprints, NoRandomness};

/// A request that the registry answered with 401.
#[derive(Debug, Clone, Copy)]
pub struct Unauthorized<'a> {
    /// What the registry was shown.
    pub credentials: &'a Credentials,
    /// What the caller had been granted a mount for, if so.
    pub granted: Option<&'a Basis>,
    /// Whether the registry refused the token itself, and did not only find it too narrow.
    pub is_token_refused: bool,
}

/// Why nothing can be decided.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Memories have no key.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The keys cannot be read.
    #[error("access.token: {0}")]
    Keys(WatchedFileError),
    /// The passwords cannot be read.
    #[error("access.htpasswd.path: {0}")]
    Passwords(WatchedFileError),
}

/// Decides about mounts as the configuration says.
#[derive(Debug)]
pub struct Access {
    mode: Mode,
    recent_challenges: RecentChallenges,
    used: UsageHistory,
    /// What the operator declares readable by every authenticated caller.
    shared: Patterns,
    fingerprints: Arc<Fingerprints>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Mode {
    Upstream(UpstreamAccess),
    Local(Box<LocalAccess>),
    Open(OpenAccess),
}

impl Access {
    /// Decides by `settings`, and takes `shared` for readable by every authenticated caller. The
    /// registry is asked through `client`. Reads the operator's files, and so blocks.
    ///
    /// # Errors
    /// [`AccessError`]
    pub fn new(
        settings: &config::Access,
        shared: &Patterns,
        client: Arc<UpstreamClient>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, AccessError> {
        let fingerprints = Arc::new(Fingerprints::new()?);
        let upstream = UpstreamAccess::new(client.clone(), settings.decision_ttl);
        let mode = match local_verifier(settings, &fingerprints)? {
            Some(verifier) => {
                let ttl = settings.decision_ttl;
                let local = LocalAccess::new(verifier, client, upstream, ttl, metrics.clone());
                Mode::Local(Box::new(local))
            }
            None if matches!(settings.mode, AccessMode::None) => {
                Mode::Open(OpenAccess::new(client, upstream))
            }
            None => Mode::Upstream(upstream),
        };
        Ok(Self {
            mode,
            recent_challenges: RecentChallenges::default(),
            used: UsageHistory::new(ClaimsTrust::Read)?,
            shared: shared.clone(),
            fingerprints,
            metrics,
        })
    }

    /// Whether the caller may push to and pull from `target` and pull from `source`, now.
    pub async fn decide(
        &self,
        target: &RepositoryName,
        source: &RepositoryName,
        credentials: &Credentials,
        deadline: Instant,
    ) -> AuthDecision {
        let request = AuthRequest {
            target,
            source,
            credentials,
            recent_challenges: &self.recent_challenges,
            fingerprints: &self.fingerprints,
            deadline,
        };
        let (decision, via) = match &self.mode {
            Mode::Upstream(access) => access.decide(&request).await,
            Mode::Local(access) => access.decide(&request).await,
            Mode::Open(access) => access.decide(&request).await,
        };
        let label = match &decision {
            AuthDecision::Granted(_) => AccessResult::Allowed,
            AuthDecision::NoCredentials | AuthDecision::Refused(_) => AccessResult::Denied,
            AuthDecision::ReadOnly
            | AuthDecision::Mismatch
            | AuthDecision::Unavailable
            | AuthDecision::TimedOut
            | AuthDecision::Overloaded => AccessResult::Unknown,
        };
        self.metrics.access_decision(label, via);
        decision
    }

    /// As [`Access::decide`], for a source that the client did not name.
    ///
    /// One that is declared shared needs no proof but that the caller may use the target.
    pub async fn decide_suggested(
        &self,
        target: &RepositoryName,
        source: &RepositoryName,
        credentials: &Credentials,
        deadline: Instant,
    ) -> AuthDecision {
        if !self.shared.matches(source) {
            let decision = self.decide(target, source, credentials, deadline).await;
            if matches!(decision, AuthDecision::Refused(_)) {
                self.used.forget(credentials, source).await;
            }
            return decision;
        }
        match self.decide(target, target, credentials, deadline).await {
            AuthDecision::Granted(grant) => AuthDecision::Granted(grant.for_shared_source(source)),
            decision => decision,
        }
    }

    /// From where something is tried for a caller. It proves nothing.
    pub async fn pull_scope(&self, credentials: &Credentials) -> PullScope {
        match &self.mode {
            Mode::Local(access) if access.lets_users_pull_everything() => PullScope::Everything,
            Mode::Open(access) if access.is_undisputed() => PullScope::Everything,
            Mode::Local(_) | Mode::Upstream(_) | Mode::Open(_) => {
                self.used.pull_scope(credentials).await
            }
        }
    }

    /// The registry let these credentials pull from or push to a repository.
    pub async fn record_use(&self, credentials: &Credentials, repository: &RepositoryName) {
        if matches!(self.mode, Mode::Upstream(_) | Mode::Open(_)) {
            self.used.learn(credentials, repository, Use::Pulled).await;
        }
    }

    /// The registry answered a request with 401. Returns whether that contradicts what is
    /// decided here.
    pub async fn record_refusal(&self, refused: &Unauthorized<'_>) -> bool {
        match &self.mode {
            Mode::Upstream(access) => {
                access.forget(refused.granted).await;
                false
            }
            Mode::Local(access) => access.record_refusal(refused).await,
            Mode::Open(access) => {
                access.record_refusal(refused).await;
                true
            }
        }
    }

    /// Remembers that a caller got the registry's own challenge for a pair of repositories.
    pub fn record_challenge(&self, challenge: Fingerprint) {
        self.recent_challenges.record(challenge);
    }
}

/// Reads the operator's files as the process would at its start. Blocks.
pub fn check_files(settings: &config::Access) -> Result<(), AccessError> {
    let fingerprints = Arc::new(Fingerprints::new()?);
    local_verifier(settings, &fingerprints).map(drop)
}

/// Who judges here, if anybody does.
fn local_verifier(
    settings: &config::Access,
    fingerprints: &Arc<Fingerprints>,
) -> Result<Option<LocalVerifier>, AccessError> {
    let prints = fingerprints.clone();
    match &settings.mode {
        AccessMode::Token(rules) => TokenVerifier::load(rules.clone(), prints)
            .map(|verifier| Some(LocalVerifier::Token(verifier)))
            .map_err(AccessError::Keys),
        AccessMode::Htpasswd(path) => HtpasswdVerifier::load(path.clone(), prints)
            .map(|verifier| Some(LocalVerifier::Htpasswd(verifier)))
            .map_err(AccessError::Passwords),
        AccessMode::Upstream | AccessMode::None => Ok(None),
    }
}
