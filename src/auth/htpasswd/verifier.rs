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
pub(crate) struct HtpasswdVerifier {
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
    pub fn doubt(&self) {
        self.users.doubt();
    }

    pub async fn judge(&self, wish: &AuthRequest<'_>) -> LocalDecision {
        let encoded = match wish.credentials.scheme() {
            CredentialScheme::Basic(encoded) => encoded,
            CredentialScheme::None | CredentialScheme::Bearer(_) | CredentialScheme::Other => {
                return LocalDecision::Denied;
            }
        };
        let Some(login) = Login::read(encoded) else {
            return LocalDecision::Denied;
        };
        let users = match self.users.current(wish.deadline).await {
            // The registry answers nobody while its file is broken.
            Ok(users) if !users.is_whole => return LocalDecision::Unknown,
            Ok(users) => users,
            Err(unfinished) => return LocalDecision::Unfinished(unfinished),
        };
        let name = String::from_utf8_lossy(&login.user).into_owned();
        let question = self.question(users.generation, encoded);
        let Some(check) = PasswordCheck::new(&users.value, login) else {
            return LocalDecision::Unknown;
        };
        match self.is_right(question, check, wish).await {
            Ok(true) => LocalDecision::Allowed(Allowed {
                user: Some(name),
                until: None,
                voucher: question,
            }),
            Ok(false) => LocalDecision::Denied,
            Err(unfinished) => LocalDecision::Unfinished(unfinished),
        }
    }

    /// The voucher of a login that was right lately.
    pub async fn known(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        self.right(self.users.known().generation, refused).await
    }

    /// The voucher of a known login, if the file says this moment that it is right.
    pub async fn contradicted(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        self.doubt();
        let users = self.users.current(Deadline::now() + ON_THE_WAY).await;
        let users = users.ok().filter(|users| users.is_whole)?;
        self.right(users.generation, refused).await
    }

    async fn right(&self, generation: u64, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        let CredentialScheme::Basic(encoded) = refused.credentials.scheme() else {
            return None;
        };
        let question = self.question(generation, encoded);
        (self.logins.get(&question).await == Some(true)).then_some(question)
    }

    fn question(&self, generation: u64, encoded: &str) -> Fingerprint {
        let generation = generation.to_be_bytes();
        self.fingerprints.of(&[&generation, encoded.as_bytes()])
    }

    /// Whether the login is right, as is known or checked now.
    async fn is_right(
        &self,
        question: Fingerprint,
        check: PasswordCheck,
        wish: &AuthRequest<'_>,
    ) -> Result<bool, JobError> {
        if self.logins.get(&question).await == Some(true) {
            // It is right while the file is the same: whoever comes often never waits for a place
            // among those who guess.
            self.logins.insert(question, RIGHT).await;
            return Ok(true);
        }
        let asked = self.logins.get_or_ask(question, self.check(check, wish));
        match tokio::time::timeout_at(wish.deadline, asked).await {
            Ok(answer) => answer.map_err(|unfinished| *unfinished),
            Err(_) => Err(JobError::Deadline),
        }
    }

    async fn check(
        &self,
        check: PasswordCheck,
        wish: &AuthRequest<'_>,
    ) -> Result<Entry<bool>, JobError> {
        let is_right = self.checks.run(wish.deadline, move || check.run()).await?;
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
