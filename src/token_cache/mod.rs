//! The registry's own token endpoint: its answers remembered, and requests to it widened.
//!
//! `widening` adds likely sources to a request. `question` says which requests may be answered
//! from memory, and what makes two of them the same; `scope` reads what they ask for; `keeping`
//! judges for how long an answer may be kept.
//! An answer is handed out as it came, to the same credentials alone, and nothing is answered
//! from memory that the registry itself would not have answered a moment ago.

pub(crate) mod freshness;
mod request;
pub(crate) mod scope;
mod scope_expansion;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::ResponseHeader;

pub use request::TokenRequest;
pub use scope_expansion::ScopeExpansion;

use crate::token_cache::freshness::Freshness;
use crate::util::{Entry, Fingerprints, NoRandomness, TtlCache};

/// Answers that are remembered.
const REMEMBERED: u64 = 16 * 1024;
/// Bytes of the longest answer that is remembered.
pub const LONGEST: usize = 64 * 1024;

/// Remembers answers of one token endpoint.
#[derive(Debug)]
pub struct TokenCache {
    path: String,
    remembered_for: Duration,
    fingerprints: Fingerprints,
    memory: TtlCache<Arc<CachedToken>>,
}

/// An answer of the token endpoint, whole.
pub struct CachedToken {
    /// As it came.
    pub head: ResponseHeader,
    /// As it came.
    pub body: Bytes,
    /// What it depends on besides the question, and how that was then.
    varies_by: Vec<(HeaderName, Vec<HeaderValue>)>,
    taken: Instant,
}

/// The answer was not one to keep, or there was none.
#[derive(Debug, Clone, Copy)]
pub struct NotCached;

impl TokenCache {
    /// Of the endpoint at `path`, each for `remembered_for` at most; nothing yet.
    pub fn new(path: &str, remembered_for: Duration) -> Result<Self, NoRandomness> {
        Ok(Self {
            path: path.to_owned(),
            remembered_for,
            fingerprints: Fingerprints::new()?,
            memory: TtlCache::new(REMEMBERED),
        })
    }

    /// The question that a request puts, if its answer may come from memory.
    pub fn cache_key(&self, target: &[u8], head: &Parts) -> Option<TokenRequest> {
        TokenRequest::read(&self.path, target, head, &self.fingerprints)
    }

    /// The remembered answer, or the one that `ask` fetches; equal questions at once ask once.
    ///
    /// [`NotCached`]: then whoever did not ask must ask for itself.
    pub async fn get_or_fetch(
        &self,
        question: &TokenRequest,
        head: &Parts,
        ask: impl Future<Output = Option<(ResponseHeader, Bytes)>>,
    ) -> Result<Arc<CachedToken>, NotCached> {
        let asked = self.memory.get_or_fetch(question.fingerprint, async {
            let taken = Instant::now();
            let (answer, body) = ask.await.ok_or(NotCached)?;
            let ttl = self.remembered_for;
            let lifetime = match freshness::freshness_of(&answer, &body, &question.scopes, ttl) {
                Freshness::Keep(lifetime) => lifetime.saturating_sub(taken.elapsed()),
                Freshness::Share => Duration::ZERO,
                Freshness::Leave => return Err(NotCached),
            };
            let varies_by =
                freshness::varies_by(&answer.headers, &head.headers).ok_or(NotCached)?;
            Ok(Entry {
                lifetime,
                answer: Arc::new(CachedToken {
                    head: answer,
                    body,
                    varies_by,
                    taken,
                }),
            })
        });
        let answer = asked.await.map_err(|error| *error)?;
        if answer.fits(&head.headers) {
            Ok(answer)
        } else {
            Err(NotCached)
        }
    }
}

impl std::fmt::Debug for CachedToken {
    /// Nothing of the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an answer with a token")
    }
}

impl CachedToken {
    /// Whole seconds since it was made, by its own word and since it was asked for.
    pub fn age(&self) -> u64 {
        let said = self.head.headers.get(header::AGE);
        let said = said.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        said.unwrap_or_default() + self.taken.elapsed().as_secs()
    }

    /// Whether it would be the same for these headers.
    fn fits(&self, headers: &HeaderMap) -> bool {
        let is_same =
            |name: &HeaderName, then: &[HeaderValue]| headers.get_all(name).iter().eq(then.iter());
        self.varies_by
            .iter()
            .all(|(name, then)| is_same(name, then))
    }
}
