//! Verifies requests by tokens, and caches which tokens were verified.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::auth::credentials::CredentialScheme;
use crate::auth::decision::{Allowed, LocalDecision};
use crate::auth::grant::{Basis, Proof};
use crate::auth::jwt::claims_check::{UnverifiedToken, VerifiedToken};
use crate::auth::jwt::trust_store::TrustedKeys;
use crate::auth::jwt::{claims_check, signature};
use crate::auth::{AuthRequest, Unauthorized};
use crate::config::TokenRules;
use crate::util::blocking_pool::{BlockingPool, half_of_the_processors};
use crate::util::file_watch::{CurrentValue, ReloadingFile, WatchedFileError};
use crate::util::{Entry, Fingerprint, Fingerprints, TtlCache};

/// The most tokens in the cache.
const REMEMBERED: u64 = 2048;
/// How long a verified token is cached, while the files are unchanged. That is no decision: its
/// times are checked on each use, and the registry itself confirms each key once in `decision_ttl`.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// The most certificate chains that are queued; beyond that the registry decides.
const WAITING: usize = 64;
/// How long a response that is passed on may wait for a check of the key files.
const ON_THE_WAY: Duration = Duration::from_millis(250);
/// Longer tokens are not cached.
const LONGEST_REMEMBERED: usize = 16 * 1024;

/// Verifies requests by the caller's token.
#[derive(Debug)]
pub(in crate::auth) struct TokenVerifier {
    rules: TokenRules,
    keys: ReloadingFile<TrustedKeys>,
    fingerprints: Arc<Fingerprints>,
    verified: TtlCache<Arc<VerifiedToken>>,
    chains: BlockingPool,
}

impl TokenVerifier {
    /// Loads the key files for the first time. Blocks.
    pub(crate) fn load(
        rules: TokenRules,
        fingerprints: Arc<Fingerprints>,
    ) -> Result<Self, WatchedFileError> {
        signature::install();
        Ok(Self {
            keys: watch_keys(&rules)?,
            rules,
            fingerprints,
            verified: TtlCache::new(REMEMBERED),
            chains: BlockingPool::new(half_of_the_processors(), WAITING),
        })
    }

    /// Checks the key files before the next decision.
    pub(crate) fn invalidate(&self) {
        self.keys.invalidate();
    }

    pub(crate) async fn verify_request(&self, request: &AuthRequest<'_>) -> LocalDecision {
        let CredentialScheme::Bearer(token) = request.credentials.scheme() else {
            return LocalDecision::Denied;
        };
        let (verified, credential_key) = match self.decide(token, request.deadline).await {
            Ok(good) => good,
            Err(decision) => return decision,
        };
        if claims_check::covers_request(&verified.claims, request.target, request.source) {
            LocalDecision::Allowed(Allowed {
                user: verified.claims.subject.clone(),
                until: seconds_since_1970().and_then(|now| verified.expires_at(now)),
                credential_key,
            })
        } else {
            LocalDecision::Insufficient
        }
    }

    /// The key of a recently verified token.
    ///
    /// A refusal of a token's scope contradicts nothing, unless a mount was granted for it.
    pub(crate) async fn cached_decision(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        let CredentialScheme::Bearer(token) = refused.credentials.scheme() else {
            return None;
        };
        let generation = self.keys.current_value().generation;
        let is_granted = |basis: &Basis| basis.proof() == Proof::Token;
        if !refused.granted.is_some_and(is_granted) {
            let cache_key = self.cache_key(generation, token);
            let verified = self.verified.get(&cache_key).await;
            verified.filter(|_| refused.is_token_refused)?;
        }
        Some(self.credential_key(generation, token))
    }

    /// The key of a known token that is valid by the files as they are now.
    pub(crate) async fn forget(&self, refused: &Unauthorized<'_>) -> Option<Fingerprint> {
        let CredentialScheme::Bearer(token) = refused.credentials.scheme() else {
            return None;
        };
        self.invalidate();
        let deadline = Instant::now() + ON_THE_WAY;
        let good = self.decide(token, deadline).await.ok();
        good.map(|(_, credential_key)| credential_key)
    }

    /// Decides all but the token's permissions.
    async fn decide(
        &self,
        token: &str,
        deadline: Instant,
    ) -> Result<(Arc<VerifiedToken>, Fingerprint), LocalDecision> {
        let keys = self.keys.current(deadline).await;
        let keys = keys.map_err(LocalDecision::Unfinished)?;
        let now = seconds_since_1970().ok_or(LocalDecision::Unknown)?;
        let verified = self.verified(token, &keys, now, deadline).await?;
        verified.is_valid_at(now)?;
        Ok((verified, self.credential_key(keys.generation, token)))
    }

    async fn verified(
        &self,
        token: &str,
        keys: &CurrentValue<TrustedKeys>,
        now: i64,
        deadline: Instant,
    ) -> Result<Arc<VerifiedToken>, LocalDecision> {
        let cache_key = self.cache_key(keys.generation, token);
        if let Some(verified) = self.verified.get(&cache_key).await {
            return Ok(verified);
        }
        let verified = Arc::new(self.verify(token, keys, now, deadline).await?);
        if token.len() <= LONGEST_REMEMBERED {
            let lifetime = KNOWN_FOR.min(verified.lifetime(now));
            let answer = verified.clone();
            self.verified
                .insert(cache_key, Entry { answer, lifetime })
                .await;
        }
        Ok(verified)
    }

    /// Verifies certificate chains off the threads that serve requests.
    async fn verify(
        &self,
        token: &str,
        keys: &CurrentValue<TrustedKeys>,
        now: i64,
        deadline: Instant,
    ) -> Result<VerifiedToken, LocalDecision> {
        let claimed = UnverifiedToken::read(token, &self.rules, now)?;
        let version = self.rules.version;
        if !claimed.has_chain() {
            return claimed.verify(token, version, &keys.value, now);
        }
        let (token, keys) = (token.to_owned(), keys.value.clone());
        let job = move || claimed.verify(&token, version, &keys, now);
        let verified = self.chains.run(deadline, job).await;
        verified.map_err(LocalDecision::Unfinished)?
    }

    fn cache_key(&self, generation: u64, token: &str) -> Fingerprint {
        let generation = generation.to_be_bytes();
        self.fingerprints
            .fingerprint(&[&generation, token.as_bytes()])
    }

    /// Made from the header: it names the signing key and how that is found.
    fn credential_key(&self, generation: u64, token: &str) -> Fingerprint {
        let generation = generation.to_be_bytes();
        let header = token.split('.').next().unwrap_or_default();
        self.fingerprints
            .fingerprint(&[b"credentials", &generation, header.as_bytes()])
    }
}

fn watch_keys(rules: &TokenRules) -> Result<ReloadingFile<TrustedKeys>, WatchedFileError> {
    let certificates = rules.root_certificates.clone();
    let version = rules.version;
    let has_certificates = certificates.is_some();
    let paths = certificates.into_iter().chain(rules.jwks.clone());
    ReloadingFile::load(paths.collect(), move |files| {
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
