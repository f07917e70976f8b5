//! Judges wishes by passwords, and remembers which logins were right.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant as Deadline;

use crate::auth::credentials::{CredentialScheme, Login};
use crate::auth::htpasswd::file::{UserEntry, Users};
use crate::auth::local_decision::{Allowed, LocalDecision};
use crate::auth::{AuthRequest, Unauthorized};
use crate::util::blocking_pool::{BlockingPool, JobError, half_of_the_processors};
use crate::util::file_watch::{ReloadingFile, WatchedFileError};
use crate::util::{Entry, Fingerprint, Fingerprints, TtlCache};

/// Logins that are remembered, right or wrong.
const REMEMBERED: u64 = 16 * 1024;
/// A wrong login is known for a second.
const WRONG: Entry<bool> = Entry {
    answer: false,
    lifetime: Duration::from_secs(1),
};
/// A right one for a minute after its last use, while the file is the same. That is no decision:
/// the registry itself is asked about each login once in `decision_ttl`.
const RIGHT: Entry<bool> = Entry {
    answer: true,
    lifetime: Duration::from_secs(60),
};
/// How long an answer that passes by may wait for a look at the file.
const ON_THE_WAY: Duration = Duration::from_millis(250);
/// Checks that wait for a place before more are left to the registry.
const WAITING: usize = 16;
/// bcrypt looks at no more of a password, and readers differ in what they do with the rest.
const LONGEST_PASSWORD: usize = 71;

/// Judges wishes by the caller's password.
#[derive(Debug)]
pub(in crate::auth) struct HtpasswdVerifier {
    users: ReloadingFile<Users>,
    fingerprints: Arc<Fingerprints>,
    logins: TtlCache<bool>,
    checks: BlockingPool,
}

impl HtpasswdVerifier {
    /// Reads the file for the first time. Blocks.
    pub fn load(path: PathBuf, fingerprints: Arc<Fingerprints>) -> Result<Self, WatchedFileError> {
        Ok(Self {
            users: ReloadingFile::load(vec![path], |files| {
                Users::parse(files.first().map_or(&[], Vec::as_slice))
            })?,
            fingerprints,
            logins: TtlCache::new(REMEMBERED),
            checks: BlockingPool::new(half_of_the_processors(), WAITING),
        })
    }

    /// Looks at the file before the next judgement.
    pub fn invalidate(&self) {
        self.users.invalidate();
    }

    pub async fn verify(&self, request: &AuthRequest<'_>) -> LocalDecision {
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
            // The registry answers nobody while its file is broken.
            Ok(users) if !users.is_whole => return LocalDecision::Unknown,
            Ok(users) => users,
            Err(unfinished) => return LocalDecision::Unfinished(unfinished),
        };
        let name = String::from_utf8_lossy(&login.user).into_owned();
        let question = self.cache_key(users.generation, encoded);
        let Some(check) = PasswordCheck::new(&users.value, login) else {
            return LocalDecision::Unknown;
        };
        match self.is_password_correct(question, check, request).await {
            Ok(true) => LocalDecision::Allowed(Allowed {
                user: Some(name),
                until: None,
                credential_key: question,
            }),
            Ok(false) => LocalDecision::Denied,
            Err(unfinished) => LocalDecision::Unfinished(unfinished),
        }
    }

    /// The voucher of a login that was right lately.
    pub async fn cached_decision(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        self.allow(self.users.known().generation, refused).await
    }

    /// The voucher of a known login, if the file says this moment that it is right.
    pub async fn forget(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        self.invalidate();
        let users = self.users.current(Deadline::now() + ON_THE_WAY).await;
        let users = users.ok().filter(|users| users.is_whole)?;
        self.allow(users.generation, refused).await
    }

    async fn allow(&self, generation: u64, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        let CredentialScheme::Basic(encoded) = refused.credentials.scheme() else {
            return None;
        };
        let question = self.cache_key(generation, encoded);
        (self.logins.get(&question).await == Some(true)).then_some(question)
    }

    fn cache_key(&self, generation: u64, encoded: &str) -> Fingerprint {
        let generation = generation.to_be_bytes();
        self.fingerprints
            .fingerprint(&[&generation, encoded.as_bytes()])
    }

    /// Whether the login is right, as is known or checked now.
    async fn is_password_correct(
        &self,
        question: Fingerprint,
        check: PasswordCheck,
        request: &AuthRequest<'_>,
    ) -> Result<bool, JobError> {
        if self.logins.get(&question).await == Some(true) {
            // It is right while the file is the same: whoever comes often never waits for a place
            // among those who guess.
            self.logins.insert(question, RIGHT).await;
            return Ok(true);
        }
        let asked = self
            .logins
            .get_or_fetch(question, self.check(check, request));
        match tokio::time::timeout_at(request.deadline, asked).await {
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
    /// `None` where only the registry can tell.
    fn new(users: &Users, login: Login) -> Option<Self> {
        if login.password.len() > LONGEST_PASSWORD || login.password.contains(&0) {
            return None;
        }
        let (hash, is_user) = match users.get(&login.user) {
            Some(UserEntry::Unjudged) => return None,
            Some(UserEntry::Bcrypt(hash)) => (Some(hash.clone()), true),
            // A name that is not there takes as long as one that is.
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
