//! Judges wishes by tokens, and remembers which tokens were verified.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::keys::TrustedKeys;
use super::verify::{Verified, verify};
use super::{rights, signature};
use crate::access::credentials::Scheme;
use crate::access::fingerprint::Fingerprints;
use crate::access::judgement::Judgement;
use crate::access::memory::{Kept, Memory};
use crate::access::watched::{Current, FileFault, Watched};
use crate::access::{Unauthorized, Wish};
use crate::config::TokenRules;

/// Signatures that are remembered.
const REMEMBERED: u64 = 2048;
/// How long an answer that passes by may wait for a look at the key files.
const ON_THE_WAY: Duration = Duration::from_millis(250);
/// Longer tokens are verified each time.
const LONGEST_REMEMBERED: usize = 16 * 1024;

/// Judges wishes by the caller's token.
#[derive(Debug)]
pub(in crate::access) struct TokenJudge {
    rules: TokenRules,
    keys: Watched<TrustedKeys>,
    fingerprints: Arc<Fingerprints>,
    verified: Memory<Arc<Verified>>,
    remembered_for: Duration,
}

impl TokenJudge {
    /// Reads the key files for the first time. Blocks.
    pub fn load(
        rules: TokenRules,
        fingerprints: Arc<Fingerprints>,
        remembered_for: Duration,
    ) -> Result<Self, FileFault> {
        signature::install();
        Ok(Self {
            keys: watch(&rules)?,
            rules,
            fingerprints,
            verified: Memory::new(REMEMBERED),
            remembered_for,
        })
    }

    /// Looks at the key files before the next judgement.
    pub fn doubt(&self) {
        self.keys.doubt();
    }

    pub async fn judge(&self, wish: &Wish<'_>) -> Judgement {
        let Scheme::Bearer(token) = wish.credentials.scheme() else {
            return Judgement::Denied;
        };
        let verified = match self.look_at(token, wish.deadline).await {
            Ok(verified) => verified,
            Err(judgement) => return judgement,
        };
        if rights::cover(&verified.claims, wish.target, wish.source) {
            Judgement::Allowed(verified.claims.subject.clone())
        } else {
            Judgement::Denied
        }
    }

    /// Whether the token is good by the files as they are this moment.
    pub async fn believes(&self, refused: &Unauthorized<'_>) -> bool {
        let Scheme::Bearer(token) = refused.credentials.scheme() else {
            return false;
        };
        self.doubt();
        let deadline = Instant::now() + ON_THE_WAY;
        self.look_at(token, deadline).await.is_ok()
    }

    /// Everything but what the token allows.
    async fn look_at(&self, token: &str, deadline: Instant) -> Result<Arc<Verified>, Judgement> {
        let keys = self.keys.current(deadline).await;
        let keys = keys.map_err(Judgement::Unfinished)?;
        let now = seconds_since_1970().ok_or(Judgement::Unknown)?;
        let verified = self.verified(token, &keys, now).await?;
        verified.is_good_at(now)?;
        Ok(verified)
    }

    async fn verified(
        &self,
        token: &str,
        keys: &Current<TrustedKeys>,
        now: i64,
    ) -> Result<Arc<Verified>, Judgement> {
        let generation = keys.generation.to_be_bytes();
        let question = self.fingerprints.of(&[&generation, token.as_bytes()]);
        if let Some(verified) = self.verified.get(&question).await {
            return Ok(verified);
        }
        let verified = Arc::new(verify(token, &self.rules, &keys.value, now)?);
        let lifetime = self.remembered_for.min(verified.lifetime(now));
        if token.len() <= LONGEST_REMEMBERED && lifetime > Duration::ZERO {
            let answer = verified.clone();
            self.verified
                .insert(question, Kept { answer, lifetime })
                .await;
        }
        Ok(verified)
    }
}

fn watch(rules: &TokenRules) -> Result<Watched<TrustedKeys>, FileFault> {
    let certificates = rules.root_certificates.clone();
    let version = rules.version;
    let has_certificates = certificates.is_some();
    let paths = certificates.into_iter().chain(rules.jwks.clone());
    Watched::load(paths.collect(), move |files| {
        let mut keys = TrustedKeys::default();
        let mut files = files.iter();
        if has_certificates && let Some(pem) = files.next() {
            keys.add_certificates(pem, version)?;
        }
        if let Some(json) = files.next() {
            keys.add_key_set(json)?;
        }
        Ok(keys)
    })
}

fn seconds_since_1970() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}
