//! Which repositories a caller may be tried to pull from. It narrows what is tried, by what the
//! caller's own credentials say or have done; it proves nothing.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::auth::claims::UnverifiedClaims;
use crate::auth::credentials::CredentialScheme;
use crate::auth::credentials::Credentials;
use crate::oci::RepositoryName;
use crate::util::{Entry, Fingerprint, Fingerprints, NoRandomness, TtlCache};

/// Logins whose repositories are remembered.
const LOGINS: u64 = 1024;
/// Repositories that are remembered of one login: those it used last.
const REPOSITORIES: usize = 128;
/// For how long after the last use.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// The repositories from which something is tried for a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullScope {
    /// Every user may pull everything.
    Everything,
    /// These.
    These(HashSet<String>),
}

impl PullScope {
    /// Whether it is tried.
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

/// Whether what a bearer token says of itself counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimsTrust {
    /// The registry's tokens are read: whoever calls this has its word that it took the token.
    Read,
    /// A token is a credential like any other: only what it was seen to do counts.
    Ignored,
}

/// What credentials were seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// They were shown a layer, as anybody may be where a repository is public.
    Pulled,
    /// They wrote something, which no registry lets strangers do.
    Pushed,
}

/// What credentials were seen to use with success.
#[derive(Debug)]
pub struct UsageHistory {
    claims: ClaimsTrust,
    fingerprints: Fingerprints,
    logins: TtlCache<Arc<Mutex<LoginHistory>>>,
}

/// The repositories of one login, the last used last.
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
        self.names.retain(|(known, _)| known != name);
    }

    /// Those of the last hour.
    fn names(&self) -> HashSet<String> {
        let young = self.names.iter().filter(|(_, since)| is_recent(*since));
        young.map(|(name, _)| name.clone()).collect()
    }
}

fn is_recent(since: Instant) -> bool {
    since.elapsed() < REMEMBERED_FOR
}

impl UsageHistory {
    /// Has seen nothing yet.
    pub fn new(claims: ClaimsTrust) -> Result<Self, NoRandomness> {
        Ok(Self {
            claims,
            fingerprints: Fingerprints::new()?,
            logins: TtlCache::new(LOGINS),
        })
    }

    /// The registry let these credentials pull from or push to a repository.
    ///
    /// Of a token whose claims are read, nothing is remembered: they say more than that.
    pub async fn learn(&self, credentials: &Credentials, repository: &RepositoryName, what: Use) {
        if self.claims(credentials).is_some() {
            return;
        }
        let Some(login) = self.login(credentials) else {
            return;
        };
        let known = self.logins.get(&login).await.unwrap_or_default();
        known.lock().learn(repository.as_str(), what);
        // Its hour begins anew.
        let kept = Entry {
            answer: known,
            lifetime: REMEMBERED_FOR,
        };
        self.logins.insert(login, kept).await;
    }

    /// The registry does not let these credentials pull from a repository after all.
    pub async fn forget(&self, credentials: &Credentials, repository: &RepositoryName) {
        if let Some(known) = self.history_of(credentials).await {
            known.lock().forget(repository.as_str());
        }
    }

    /// What a token names whose claims are read, and else what this very credential was seen to
    /// use within the last hour.
    pub async fn pull_scope(&self, credentials: &Credentials) -> PullScope {
        let names = match self.claims(credentials) {
            Some(claims) => claims.pull_repositories(),
            None => match self.history_of(credentials).await {
                Some(known) => known.lock().names(),
                None => HashSet::new(),
            },
        };
        PullScope::These(names)
    }

    /// Whether the registry let these credentials write something within the last hour.
    pub async fn has_pushed(&self, credentials: &Credentials) -> bool {
        match self.history_of(credentials).await {
            Some(known) => known.lock().pushed.is_some_and(is_recent),
            None => false,
        }
    }

    /// Whether what a token says of itself counts.
    pub fn trusts_claims(&self) -> bool {
        self.claims == ClaimsTrust::Read
    }

    fn claims(&self, credentials: &Credentials) -> Option<UnverifiedClaims> {
        match credentials.scheme() {
            CredentialScheme::Bearer(token) if self.trusts_claims() => {
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
