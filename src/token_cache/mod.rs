//! The registry's own token endpoint: its responses cached, and requests to it sent with more
//! scopes.
//!
//! | file | what |
//! |---|---|
//! | this one | the cache |
//! | `request` | which requests may be answered from it, and which of them are equal |
//! | `scope` | what a request asks for |
//! | `freshness` | how long a response may be cached |
//! | `concurrent_pushes` | the repositories to which a login began to push a short while ago |
//! | `scope_expansion` | adds likely sources to a client's request |
//!
//! A cached response is sent as it came, and only to the same credentials. The cache sends no
//! response that the registry itself would not have sent a moment ago.

mod concurrent_pushes;
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

pub(crate) use request::TokenRequest;
pub(crate) use scope_expansion::ScopeExpansion;

use crate::token_cache::freshness::Freshness;
use crate::util::{Entry, Fingerprints, NoRandomness, TtlCache};

/// The most responses in the cache.
const REMEMBERED: u64 = 16 * 1024;
/// The longest body in the cache, in bytes.
pub(crate) const LONGEST: usize = 64 * 1024;

/// Caches responses of one token endpoint.
#[derive(Debug)]
pub(crate) struct TokenCache {
    path: String,
    ttl: Duration,
    fingerprints: Fingerprints,
    cache: TtlCache<Arc<CachedToken>>,
}

/// A complete response of the token endpoint.
pub(crate) struct CachedToken {
    /// The head, as it came.
    pub head: ResponseHeader,
    /// The body, as it came.
    pub body: Bytes,
    /// The request headers that it varies by, with their values.
    varies_by: Vec<(HeaderName, Vec<HeaderValue>)>,
    taken: Instant,
}

/// The response may not be cached, or there was none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotCached;

impl TokenCache {
    /// For the endpoint at `path`; responses are cached for at most `ttl`.
    pub(crate) fn new(path: &str, ttl: Duration) -> Result<Self, NoRandomness> {
        Ok(Self {
            path: path.to_owned(),
            ttl,
            fingerprints: Fingerprints::new()?,
            cache: TtlCache::new(REMEMBERED),
        })
    }

    /// The key of a request, if its response may come from the cache.
    pub(crate) fn cache_key(&self, target: &[u8], head: &Parts) -> Option<TokenRequest> {
        TokenRequest::read(&self.path, target, head, &self.fingerprints)
    }

    /// The cached response, or the one that `fetch` gets; equal requests at once send one.
    ///
    /// After [`NotCached`] a caller whose `fetch` did not run must send its own request.
    pub(crate) async fn get_or_fetch(
        &self,
        request: &TokenRequest,
        head: &Parts,
        fetch: impl Future<Output = Option<(ResponseHeader, Bytes)>>,
    ) -> Result<Arc<CachedToken>, NotCached> {
        let fetched = self.cache.get_or_fetch(request.fingerprint, async {
            let taken = Instant::now();
            let (answer, body) = fetch.await.ok_or(NotCached)?;
            let ttl = self.ttl;
            let lifetime = match freshness::freshness_of(&answer, &body, &request.scopes, ttl) {
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
        let answer = fetched.await.map_err(|error| *error)?;
        if answer.fits(&head.headers) {
            Ok(answer)
        } else {
            Err(NotCached)
        }
    }
}

impl std::fmt::Debug for CachedToken {
    /// Omits the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an answer with a token")
    }
}

impl CachedToken {
    /// Its age in whole seconds, by its own headers and since it was fetched.
    pub(crate) fn age(&self) -> u64 {
        let age = self.head.headers.get(header::AGE);
        let age = age.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        age.unwrap_or_default() + self.taken.elapsed().as_secs()
    }

    /// Whether it varies by none of these headers.
    fn fits(&self, headers: &HeaderMap) -> bool {
        let is_same =
            |name: &HeaderName, then: &[HeaderValue]| headers.get_all(name).iter().eq(then.iter());
        self.varies_by
            .iter()
            .all(|(name, then)| is_same(name, then))
    }
}
