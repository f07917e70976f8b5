//! Judges wishes by passwords, and remembers which logins were right.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::Instant as Deadline;

use super::users::{Entry, Users};
use crate::access::credentials::{Login, Scheme};
use crate::access::fingerprint::{Fingerprint, Fingerprints};
use crate::access::judgement::{Allowed, Judgement};
use crate::access::memory::{Kept, Memory};
use crate::access::watched::{FileFault, Watched};
use crate::access::{Unauthorized, Wish};
use crate::workers::{Unfinished, Workers, half_of_the_processors};

/// Logins that are remembered, right or wrong.
const REMEMBERED: u64 = 16 * 1024;
/// How long a wrong password is remembered.
const WRONG_COUNTS_FOR: Duration = Duration::from_secs(1);
/// For how long a right login is known, to notice that the registry refuses it.
const KNOWN_FOR: Duration = Duration::from_secs(60);
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
    /// The right ones, for longer than anything is decided by them.
    right: Memory<()>,
    checks: Workers,
    remembered_for: Duration,
}

impl HtpasswdJudge {
    /// Reads the file for the first time. Blocks.
    pub fn load(
        path: PathBuf,
        fingerprints: Arc<Fingerprints>,
        remembered_for: Duration,
    ) -> Result<Self, FileFault> {
        Ok(Self {
            users: Watched::load(vec![path], |files| {
                Users::parse(files.first().map_or(&[], Vec::as_slice))
            })?,
            fingerprints,
            logins: Memory::new(REMEMBERED),
            right: Memory::new(REMEMBERED),
            checks: Workers::new(half_of_the_processors(), WAITING),
            remembered_for,
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
        let asked = self
            .logins
            .get_or_ask(question, self.check(question, check, wish));
        match tokio::time::timeout_at(wish.deadline, asked).await {
            Ok(Ok(true)) => Judgement::Allowed(Allowed {
                user: Some(name),
                voucher: question,
            }),
            Ok(Ok(false)) => Judgement::Denied,
            Ok(Err(unfinished)) => Judgement::Unfinished(*unfinished),
            Err(_) => Judgement::Unfinished(Unfinished::Deadline),
        }
    }

    /// The voucher of a login that was right lately, if the file says so this moment too.
    pub async fn contradicted(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        let Scheme::Basic(encoded) = refused.credentials.scheme() else {
            return None;
        };
        // Nothing is looked at for a stranger.
        self.known(self.users.known().generation, encoded).await?;
        self.doubt();
        let users = self.users.current(Deadline::now() + ON_THE_WAY).await;
        let users = users.ok().filter(|users| users.is_whole)?;
        self.known(users.generation, encoded).await
    }

    async fn known(&self, generation: u64, encoded: &str) -> Option<Fingerprint> {
        let question = self.question(generation, encoded);
        self.right.get(&question).await.map(|()| question)
    }

    fn question(&self, generation: u64, encoded: &str) -> Fingerprint {
        let generation = generation.to_be_bytes();
        self.fingerprints.of(&[&generation, encoded.as_bytes()])
    }

    async fn check(
        &self,
        question: Fingerprint,
        check: Check,
        wish: &Wish<'_>,
    ) -> Result<Kept<bool>, Unfinished> {
        let began = Instant::now();
        let is_right = self.checks.run(wish.deadline, move || check.run()).await?;
        let lifetime = if is_right {
            let known = Kept {
                answer: (),
                lifetime: KNOWN_FOR,
            };
            self.right.insert(question, known).await;
            self.remembered_for
        } else {
            WRONG_COUNTS_FOR
        };
        Ok(Kept {
            answer: is_right,
            lifetime: lifetime.saturating_sub(began.elapsed()),
        })
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
