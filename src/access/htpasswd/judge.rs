//! Judges wishes by passwords, and remembers which logins were right.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant as Deadline;

use super::users::{Entry, Users};
use crate::access::credentials::{Login, Scheme};
use crate::access::judgement::{Allowed, Judgement};
use crate::access::{Unauthorized, Wish};
use crate::memory::{Fingerprint, Fingerprints, Kept, Memory};
use crate::watched::{FileFault, Watched};
use crate::workers::{Unfinished, Workers, half_of_the_processors};

/// Logins that are remembered, right or wrong.
const REMEMBERED: u64 = 16 * 1024;
/// A wrong login is known for a second.
const WRONG: Kept<bool> = Kept {
    answer: false,
    lifetime: Duration::from_secs(1),
};
/// A right one for a minute after its last use, while the file is the same. That is no decision:
/// the registry itself is asked about each login once in `decision_ttl`.
const RIGHT: Kept<bool> = Kept {
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
pub(in crate::access) struct HtpasswdJudge {
    users: Watched<Users>,
    fingerprints: Arc<Fingerprints>,
    logins: Memory<bool>,
    checks: Workers,
}

impl HtpasswdJudge {
    /// Reads the file for the first time. Blocks.
    pub fn load(path: PathBuf, fingerprints: Arc<Fingerprints>) -> Result<Self, FileFault> {
        Ok(Self {
            users: Watched::load(vec![path], |files| {
                Users::parse(files.first().map_or(&[], Vec::as_slice))
            })?,
            fingerprints,
            logins: Memory::new(REMEMBERED),
            checks: Workers::new(half_of_the_processors(), WAITING),
        })
    }

    /// Looks at the file before the next judgement.
    pub fn doubt(&self) {
        self.users.doubt();
    }

    pub async fn judge(&self, wish: &Wish<'_>) -> Judgement {
        let encoded = match wish.credentials.scheme() {
            Scheme::Basic(encoded) => encoded,
            Scheme::None | Scheme::Bearer(_) | Scheme::Other => return Judgement::Denied,
        };
        let Some(login) = Login::read(encoded) else {
            return Judgement::Denied;
        };
        let users = match self.users.current(wish.deadline).await {
            // The registry answers nobody while its file is broken.
            Ok(users) if !users.is_whole => return Judgement::Unknown,
            Ok(users) => users,
            Err(unfinished) => return Judgement::Unfinished(unfinished),
        };
        let name = String::from_utf8_lossy(&login.user).into_owned();
        let question = self.question(users.generation, encoded);
        let Some(check) = Check::new(&users.value, login) else {
            return Judgement::Unknown;
        };
        match self.is_right(question, check, wish).await {
            Ok(true) => Judgement::Allowed(Allowed {
                user: Some(name),
                until: None,
                voucher: question,
            }),
            Ok(false) => Judgement::Denied,
            Err(unfinished) => Judgement::Unfinished(unfinished),
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
        let Scheme::Basic(encoded) = refused.credentials.scheme() else {
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
        check: Check,
        wish: &Wish<'_>,
    ) -> Result<bool, Unfinished> {
        if self.logins.get(&question).await == Some(true) {
            // It is right while the file is the same: whoever comes often never waits for a place
            // among those who guess.
            self.logins.insert(question, RIGHT).await;
            return Ok(true);
        }
        let asked = self.logins.get_or_ask(question, self.check(check, wish));
        match tokio::time::timeout_at(wish.deadline, asked).await {
            Ok(answer) => answer.map_err(|unfinished| *unfinished),
            Err(_) => Err(Unfinished::Deadline),
        }
    }

    async fn check(&self, check: Check, wish: &Wish<'_>) -> Result<Kept<bool>, Unfinished> {
        let is_right = self.checks.run(wish.deadline, move || check.run()).await?;
        Ok(if is_right { RIGHT } else { WRONG })
    }
}

/// One check of a password.
struct Check {
    login: Login,
    hash: Option<String>,
    is_user: bool,
}

impl Check {
    /// `None` where only the registry can tell.
    fn new(users: &Users, login: Login) -> Option<Self> {
        if login.password.len() > LONGEST_PASSWORD || login.password.contains(&0) {
            return None;
        }
        let (hash, is_user) = match users.get(&login.user) {
            Some(Entry::Unjudged) => return None,
            Some(Entry::Bcrypt(hash)) => (Some(hash.clone()), true),
            // A name that is not there takes as long as one that is.
            Some(Entry::Unusable) | None => (users.any_hash().map(str::to_owned), false),
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
