//! Verifies requests by passwords, and caches which logins were right.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant as Deadline;

use crate::auth::credentials::{CredentialScheme, Login};
use crate::auth::decision::{Allowed, LocalDecision};
use crate::auth::htpasswd::file::{UserEntry, Users};
use crate::auth::{AuthRequest, Unauthorized};
use crate::util::blocking_pool::{BlockingPool, JobError, half_of_the_processors};
use crate::util::file_watch::{ReloadingFile, WatchedFileError};
use crate::util::{Entry, Fingerprint, Fingerprints, TtlCache};

/// The most logins in the cache, right or wrong.
const REMEMBERED: u64 = 16 * 1024;
/// How long a wrong login is cached.
const WRONG: Entry<bool> = Entry {
    answer: false,
    lifetime: Duration::from_secs(1),
};
/// A right login is cached for a minute after its last use, while the file is unchanged. That is no
/// decision: the registry itself confirms each login once in `decision_ttl`.
const RIGHT: Entry<bool> = Entry {
    answer: true,
    lifetime: Duration::from_secs(60),
};
/// How long a response that is passed on may wait for a check of the file.
const ON_THE_WAY: Duration = Duration::from_millis(250);
/// The most checks that are queued; beyond that the registry decides.
const WAITING: usize = 16;
/// bcrypt ignores the rest of a longer password, and implementations differ in what they do with
/// it.
const LONGEST_PASSWORD: usize = 71;

/// Verifies requests by the caller's password.
#[derive(Debug)]
pub(in crate::auth) struct HtpasswdVerifier {
    users: ReloadingFile<Users>,
    fingerprints: Arc<Fingerprints>,
    logins: TtlCache<bool>,
    checks: BlockingPool,
}

impl HtpasswdVerifier {
    /// Loads the file for the first time. Blocks.
    pub(crate) fn load(
        path: PathBuf,
        fingerprints: Arc<Fingerprints>,
    ) -> Result<Self, WatchedFileError> {
        Ok(Self {
            users: ReloadingFile::load(vec![path], |files| {
                Users::parse(files.first().map_or(&[], Vec::as_slice))
            })?,
            fingerprints,
            logins: TtlCache::new(REMEMBERED),
            checks: BlockingPool::new(half_of_the_processors(), WAITING),
        })
    }

    /// Checks the file before the next decision.
    pub(crate) fn invalidate(&self) {
        self.users.invalidate();
    }

    pub(crate) async fn verify(&self, request: &AuthRequest<'_>) -> LocalDecision {
        let encoded = match request.credentials.scheme() {
            CredentialScheme::Basic(encoded) => encoded,
            CredentialScheme::None | CredentialScheme::Bearer(_) | CredentialScheme::Other => {
                return LocalDecision::Denied;
            }
        };
        let Some(login) = Login::read(encoded) else {
            return LocalDecision::Denied;
        };
        let users = match self.users.current(request.deadline).await {
            // The registry authenticates no user while its file is invalid.
            Ok(users) if !users.is_whole => return LocalDecision::Unknown,
            Ok(users) => users,
            Err(unfinished) => return LocalDecision::Unfinished(unfinished),
        };
        let name = String::from_utf8_lossy(&login.user).into_owned();
        let cache_key = self.cache_key(users.generation, encoded);
        let Some(check) = PasswordCheck::new(&users.value, login) else {
            return LocalDecision::Unknown;
        };
        match self.is_password_correct(cache_key, check, request).await {
            Ok(true) => LocalDecision::Allowed(Allowed {
                user: Some(name),
                until: None,
                credential_key: cache_key,
            }),
            Ok(false) => LocalDecision::Denied,
            Err(unfinished) => LocalDecision::Unfinished(unfinished),
        }
    }

    /// The key of a login that was recently right.
    pub(crate) async fn cached_decision(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        self.allow(self.users.current_value().generation, refused)
            .await
    }

    /// The key of a known login, if the file says now that it is right.
    pub(crate) async fn forget(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        self.invalidate();
        let users = self.users.current(Deadline::now() + ON_THE_WAY).await;
        let users = users.ok().filter(|users| users.is_whole)?;
        self.allow(users.generation, refused).await
    }

    async fn allow(&self, generation: u64, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        let CredentialScheme::Basic(encoded) = refused.credentials.scheme() else {
            return None;
        };
        let cache_key = self.cache_key(generation, encoded);
        (self.logins.get(&cache_key).await == Some(true)).then_some(cache_key)
    }

    fn cache_key(&self, generation: u64, encoded: &str) -> Fingerprint {
        let generation = generation.to_be_bytes();
        self.fingerprints
            .fingerprint(&[&generation, encoded.as_bytes()])
    }

    /// Whether the login is right, from the cache or by a check.
    async fn is_password_correct(
        &self,
        cache_key: Fingerprint,
        check: PasswordCheck,
        request: &AuthRequest<'_>,
    ) -> Result<bool, JobError> {
        if self.logins.get(&cache_key).await == Some(true) {
            // Kept while it is in use: a frequent caller never queues behind clients that guess
            // passwords.
            self.logins.insert(cache_key, RIGHT).await;
            return Ok(true);
        }
        let checked = self
            .logins
            .get_or_fetch(cache_key, self.check(check, request));
        match tokio::time::timeout_at(request.deadline, checked).await {
            Ok(answer) => answer.map_err(|unfinished| *unfinished),
            Err(_) => Err(JobError::Deadline),
        }
    }

    async fn check(
        &self,
        check: PasswordCheck,
        request: &AuthRequest<'_>,
    ) -> Result<Entry<bool>, JobError> {
        let is_right = self
            .checks
            .run(request.deadline, move || check.run())
            .await?;
        Ok(if is_right { RIGHT } else { WRONG })
    }
}

/// One check of a password.
struct PasswordCheck {
    login: Login,
    hash: Option<String>,
    is_user: bool,
}

impl PasswordCheck {
    /// `None` if only the registry can decide.
    fn new(users: &Users, login: Login) -> Option<Self> {
        if login.password.len() > LONGEST_PASSWORD || login.password.contains(&0) {
            return None;
        }
        let (hash, is_user) = match users.get(&login.user) {
            Some(UserEntry::Unjudged) => return None,
            Some(UserEntry::Bcrypt(hash)) => (Some(hash.clone()), true),
            // The check of an unknown name takes as long as that of a known one.
            Some(UserEntry::Unusable) | None => (users.any_hash().map(str::to_owned), false),
        };
        Some(Self {
            login,
            hash,
            is_user,
        })
    }

    fn run(self) -> bool {
        let hash = self.hash.unwrap_or_default();
        let fits = bcrypt::verify(&*self.login.password, &hash).unwrap_or(false);
        fits && self.is_user
    }
}
