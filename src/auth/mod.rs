//! Who may mount what. Only this module makes a [`Grant`].
//!
//! In the order of a request:
//!
//! | file | what |
//! |---|---|
//! | `credentials`, `request` | the caller's credentials, and the permissions that a mount needs |
//! | `upstream` | the registry decides, probed with the caller's own credentials |
//! | `local` | crossmount decides, by `jwt` or `htpasswd` |
//! | `confirmations` | the registry's confirmations of what `local` decides |
//! | `no_auth` | a registry without access control, while it confirms that |
//! | `decision`, `grant` | the result, and how long a grant may be used |
//! | `denial`, `claims` | how the mount of a refused caller goes on |
//! | `usage` | which sources are tried for a caller who names none |
//!
//! Nothing here touches the store: access is decided before the disk is looked at.

pub(crate) mod claims;
mod confirmations;
pub(crate) mod credentials;
pub(crate) mod decision;
mod denial;
mod grant;
pub(crate) mod htpasswd;
pub(crate) mod jwt;
mod local;
mod no_auth;
mod request;
mod upstream;
pub(crate) mod usage;

use std::sync::Arc;

use tokio::time::Instant;

pub(crate) use claims::UnverifiedClaims;
pub(crate) use credentials::Credentials;
pub(crate) use decision::AuthDecision;
pub(crate) use denial::{Denial, Denials};
pub(crate) use grant::{Basis, Grant, Proof};
pub(crate) use usage::{PullEvidence, PullScope, PushEvidence, UsageHistory, Use};

use crate::auth::denial::RecentChallenges;
use crate::auth::htpasswd::HtpasswdVerifier;
use crate::auth::jwt::TokenVerifier;
use crate::auth::local::{LocalAccess, LocalVerifier};
use crate::auth::no_auth::OpenAccess;
use crate::auth::request::AuthRequest;
use crate::auth::upstream::UpstreamAccess;
use crate::config::{self, AccessMode};
use crate::oci::{Patterns, RepositoryName};
use crate::telemetry::labels::AccessResult;
use crate::telemetry::metrics::Metrics;
use crate::upstream::UpstreamClient;
use crate::util::file_watch::WatchedFileError;
use crate::util::{Fingerprint, Fingerprints, NoRandomness};

/// A request to which the registry responded 401.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unauthorized<'a> {
    /// The credentials of the request.
    pub credentials: &'a Credentials,
    /// The basis on which a mount had been granted to the caller, if one was.
    pub granted: Option<&'a Basis>,
    /// Whether the registry refused the token itself, rather than its scope.
    pub is_token_refused: bool,
}

/// Why access cannot be decided.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No random key for fingerprints.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The token keys cannot be loaded.
    #[error("access.token: {0}")]
    Keys(WatchedFileError),
    /// The htpasswd file cannot be loaded.
    #[error("access.htpasswd.path: {0}")]
    Passwords(WatchedFileError),
}

/// Decides access to mounts, in the configured mode.
#[derive(Debug)]
pub(crate) struct Access {
    mode: Mode,
    recent_challenges: RecentChallenges,
    used: UsageHistory,
    /// Sources that the operator declared readable by every authenticated caller.
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
    /// Decides by `settings`; every authenticated caller may pull the sources of `shared`.
    ///
    /// Probes go through `client`, which records what they show of the registry. Reads the
    /// operator's files, and so blocks.
    pub(crate) fn new(
        settings: &config::AccessConfig,
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
            used: UsageHistory::new(PullEvidence::TokenClaims)?,
            shared: shared.clone(),
            fingerprints,
            metrics,
        })
    }

    /// Whether the caller may push to and pull from `target` and pull from `source`, now.
    pub(crate) async fn decide(
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

    /// Like [`Access::decide`], for a source that the client did not name.
    ///
    /// For a shared source it is enough that the caller may use the target.
    pub(crate) async fn decide_suggested(
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

    /// The repositories from which a mount is tried for a caller; this grants nothing.
    pub(crate) async fn pull_scope(&self, credentials: &Credentials) -> PullScope {
        match &self.mode {
            Mode::Local(access) if access.lets_users_pull_everything() => PullScope::Everything,
            Mode::Open(access) if access.is_undisputed() => PullScope::Everything,
            Mode::Local(_) | Mode::Upstream(_) | Mode::Open(_) => {
                self.used.pull_scope(credentials).await
            }
        }
    }

    /// Whether a mount for these credentials is tried by what they were used for.
    pub(crate) fn counts_uses(&self, credentials: &Credentials) -> bool {
        let is_decided_elsewhere = match &self.mode {
            Mode::Upstream(_) => true,
            Mode::Open(access) => !access.is_undisputed(),
            Mode::Local(_) => false,
        };
        is_decided_elsewhere && self.used.counts_uses(credentials)
    }

    /// Records that the registry let these credentials pull from or push to a repository.
    pub(crate) async fn record_use(&self, credentials: &Credentials, repository: &RepositoryName) {
        if matches!(self.mode, Mode::Upstream(_) | Mode::Open(_)) {
            self.used.learn(credentials, repository, Use::Pulled).await;
        }
    }

    /// Records a 401 of the registry, and returns whether it contradicts a decision made here.
    pub(crate) async fn record_refusal(&self, refused: &Unauthorized<'_>) -> bool {
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

    /// Records that a caller got the registry's own challenge for a pair of repositories.
    pub(crate) fn record_challenge(&self, challenge: Fingerprint) {
        self.recent_challenges.record(challenge);
    }
}

/// Loads the operator's files as the start of the process would. Blocks.
pub(crate) fn check_files(settings: &config::AccessConfig) -> Result<(), AccessError> {
    let fingerprints = Arc::new(Fingerprints::new()?);
    local_verifier(settings, &fingerprints).map(drop)
}

/// The verifier of the configured mode, if crossmount decides in it.
fn local_verifier(
    settings: &config::AccessConfig,
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
