//! Which repositories a caller can likely pull from. It limits what is tried, by what the caller's
//! own credentials claim or have done; it grants nothing.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::auth::claims::UnverifiedClaims;
use crate::auth::credentials::CredentialScheme;
use crate::auth::credentials::Credentials;
use crate::oci::RepositoryName;
use crate::util::{Entry, Fingerprint, Fingerprints, NoRandomness, TtlCache};

/// Logins whose history is kept.
const LOGINS: u64 = 1024;
/// Repositories in one login's history: the last used ones.
const REPOSITORIES: usize = 128;
/// How long a repository stays after its last use.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// The repositories from which a mount is tried for a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullScope {
    /// All: every user may pull everything.
    Everything,
    /// Only these.
    These(HashSet<String>),
}

impl PullScope {
    /// These repositories too.
    pub(crate) fn and(mut self, others: &[RepositoryName]) -> Self {
        if let Self::These(names) = &mut self {
            names.extend(others.iter().map(|name| name.as_str().to_owned()));
        }
        self
    }

    /// Whether this repository is among them.
    pub fn includes(&self, repository: &RepositoryName) -> bool {
        match self {
            Self::Everything => true,
            Self::These(names) => names.contains(repository.as_str()),
        }
    }

    #[cfg(test)]
    pub(crate) fn these<const N: usize>(names: [&str; N]) -> Self {
        Self::These(names.map(str::to_owned).into())
    }
}

/// What shows that a caller can likely pull from a repository.
///
/// All but `SeenUse` count only for credentials that the registry has accepted in the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullEvidence {
    /// The registry has no access control: every client can.
    OpenRegistry,
    /// The registry has a password file: every user can.
    AnyUser,
    /// The claims of a bearer token. Any other credential counts by its uses.
    TokenClaims,
    /// The uses of this very credential; claims of tokens are ignored.
    SeenUse,
}

/// For what credentials were used with success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// To pull a layer, which needs no permission if the repository is public.
    Pulled,
    /// To write, which no registry allows to unknown clients.
    Pushed,
}

/// What is known of a caller's permission to push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushEvidence {
    /// It has the permission, if the registry accepts its credentials.
    Shown,
    /// Nothing shows it.
    Unknown,
    /// Its token does not list it.
    NotListed,
}

/// What credentials were used for with success.
#[derive(Debug)]
pub(crate) struct UsageHistory {
    evidence: PullEvidence,
    fingerprints: Fingerprints,
    logins: TtlCache<Arc<Mutex<LoginHistory>>>,
}

/// The repositories of one login, in the order of their last use.
#[derive(Debug, Default)]
struct LoginHistory {
    names: VecDeque<(String, Instant)>,
    pushed: Option<Instant>,
}

impl LoginHistory {
    fn learn(&mut self, name: &str, what: Use) {
        let now = Instant::now();
        self.forget(name);
        if self.names.len() >= REPOSITORIES {
            self.names.pop_front();
        }
        self.names.push_back((name.to_owned(), now));
        if what == Use::Pushed {
            self.pushed = Some(now);
        }
    }

    fn forget(&mut self, name: &str) {
        self.names.retain(|(used, _)| used != name);
    }

    /// The repositories used within the last hour.
    fn names(&self) -> HashSet<String> {
        let young = self.names.iter().filter(|(_, since)| is_recent(*since));
        young.map(|(name, _)| name.clone()).collect()
    }
}

fn is_recent(since: Instant) -> bool {
    since.elapsed() < REMEMBERED_FOR
}

impl UsageHistory {
    pub(crate) fn new(evidence: PullEvidence) -> Result<Self, NoRandomness> {
        Ok(Self {
            evidence,
            fingerprints: Fingerprints::new()?,
            logins: TtlCache::new(LOGINS),
        })
    }

    /// Records that the registry let these credentials pull from or push to a repository.
    ///
    /// Nothing is recorded if it would not be looked up: a token whose claims are read lists more
    /// than its uses show.
    pub(crate) async fn learn(
        &self,
        credentials: &Credentials,
        repository: &RepositoryName,
        what: Use,
    ) {
        if !self.counts_uses(credentials) {
            return;
        }
        let Some(login) = self.login(credentials) else {
            return;
        };
        let history = self.logins.get(&login).await.unwrap_or_default();
        history.lock().learn(repository.as_str(), what);
        // Its hour begins anew.
        let entry = Entry {
            answer: history,
            lifetime: REMEMBERED_FOR,
        };
        self.logins.insert(login, entry).await;
    }

    /// Whether these credentials count by what they were used for.
    pub(crate) fn counts_uses(&self, credentials: &Credentials) -> bool {
        let is_counted = self.claims(credentials).is_none();
        is_counted && !self.may_pull_everything(credentials)
    }

    /// Forgets a repository from which the registry does not let these credentials pull.
    pub(crate) async fn forget(&self, credentials: &Credentials, repository: &RepositoryName) {
        if let Some(history) = self.history_of(credentials).await {
            history.lock().forget(repository.as_str());
        }
    }

    /// Everything, if every caller with such credentials can. The repositories that a token lists,
    /// if its claims are read. Otherwise those that this very credential used within the last hour.
    pub(crate) async fn pull_scope(&self, credentials: &Credentials) -> PullScope {
        if self.may_pull_everything(credentials) {
            return PullScope::Everything;
        }
        let names = match self.claims(credentials) {
            Some(claims) => claims.pull_repositories(),
            None => match self.history_of(credentials).await {
                Some(history) => history.lock().names(),
                None => HashSet::new(),
            },
        };
        PullScope::These(names)
    }

    /// Whether the registry let these credentials write within the last hour.
    pub(crate) async fn has_pushed(&self, credentials: &Credentials) -> bool {
        match self.history_of(credentials).await {
            Some(history) => history.lock().pushed.is_some_and(is_recent),
            None => false,
        }
    }

    /// Whether a caller can likely push to a repository.
    pub(crate) async fn push_evidence(
        &self,
        credentials: &Credentials,
        repository: &RepositoryName,
    ) -> PushEvidence {
        match self.claims(credentials) {
            // Such a registry lets every user push, too.
            None if self.may_pull_everything(credentials) => PushEvidence::Shown,
            None if self.has_pushed(credentials).await => PushEvidence::Shown,
            None => PushEvidence::Unknown,
            Some(claims) if claims.lists_push(repository) => PushEvidence::Shown,
            Some(_) => PushEvidence::NotListed,
        }
    }

    /// What shows that a caller can likely pull.
    pub(crate) fn evidence(&self) -> PullEvidence {
        self.evidence
    }

    fn may_pull_everything(&self, credentials: &Credentials) -> bool {
        match self.evidence {
            PullEvidence::OpenRegistry => true,
            PullEvidence::AnyUser => credentials.is_login(),
            PullEvidence::TokenClaims | PullEvidence::SeenUse => false,
        }
    }

    fn claims(&self, credentials: &Credentials) -> Option<UnverifiedClaims> {
        match credentials.scheme() {
            CredentialScheme::Bearer(token) if self.evidence == PullEvidence::TokenClaims => {
                Some(UnverifiedClaims::read(token))
            }
            _ => None,
        }
    }

    fn login(&self, credentials: &Credentials) -> Option<Fingerprint> {
        let header = credentials.header()?;
        Some(self.fingerprints.fingerprint(&[header.as_bytes()]))
    }

    async fn history_of(&self, credentials: &Credentials) -> Option<Arc<Mutex<LoginHistory>>> {
        self.logins.get(&self.login(credentials)?).await
    }
}

#[cfg(test)]
mod tests;
