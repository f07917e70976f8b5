//! Adds pull on likely sources to a client's own request for a token to push with.
//!
//! The token server decides about each of them, and the token lists what it granted. Then a layer
//! may be mounted from there for every client with the token. A token also lists what was denied.
//! So only shared sources are added, and what the same login was granted or requested before.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use http::request::Parts;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::auth::{Credentials, PullEvidence, UsageHistory, Use};
use crate::discovery::Discovery;
use crate::oci::RepositoryName;
use crate::token_cache::concurrent_pushes::ConcurrentPushes;
use crate::token_cache::freshness::token_lifetime;
use crate::token_cache::scope::Scope;
use crate::util::NoRandomness;
use crate::util::query::pairs;

/// Up to this length a request line's target grows, in bytes: servers accept 4094 (gunicorn's
/// `limit_request_line`), and more than twice as much elsewhere.
const LONGEST: usize = 2000;
/// How long nothing is added after a token server has refused that.
const PAUSE: Duration = Duration::from_secs(10 * 60);
/// The characters that a query may hold unescaped (RFC 3986, 3.4).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b':')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// Adds scopes to requests to one token endpoint.
#[derive(Debug)]
pub(crate) struct ScopeExpansion {
    path: String,
    discovery: Arc<Discovery>,
    granted: UsageHistory,
    /// The pushes for whose layers HEADs may wait.
    pushes: Option<ConcurrentPushes>,
    paused_until: Mutex<Option<Instant>>,
}

impl ScopeExpansion {
    /// For the endpoint at `path`; no login's grants are known yet.
    pub(crate) fn new(path: &str, discovery: Arc<Discovery>) -> Result<Self, NoRandomness> {
        let waits = !discovery.settings().wait_for_uploads.is_zero();
        Ok(Self {
            path: path.to_owned(),
            pushes: waits.then(ConcurrentPushes::new).transpose()?,
            discovery,
            granted: UsageHistory::new(PullEvidence::SeenUse)?,
            paused_until: Mutex::default(),
        })
    }

    /// Whether a request asks for a login's token, so that its response shows grants.
    pub(crate) fn is_token_request(&self, target: &[u8], head: &Parts) -> bool {
        let path = target.split(|b| *b == b'?').next();
        let is_login =
            Credentials::from_single_header(&head.headers).is_some_and(|sent| !sent.is_anonymous());
        head.method == Method::GET && path == Some(self.path.as_bytes()) && is_login
    }

    /// The request line's target with more scopes; `None` if it stays as it is.
    pub(crate) async fn expand(&self, target: &[u8], head: &Parts) -> Option<Vec<u8>> {
        if !self.is_token_request(target, head) || self.is_paused() {
            return None;
        }
        let text = std::str::from_utf8(target).ok()?;
        let (_, query) = text.split_once('?')?;
        let scopes = scopes(query)?;
        let pushed = scopes.iter().find_map(Scope::pushes_to)?;
        let requested: HashSet<_> = scopes.iter().map(Scope::name).collect();
        let credentials = Credentials::from_single_header(&head.headers)?;
        let granted = self.granted.pull_scope(&credentials).await;
        let mut sources = self.discovery.likely_sources(&pushed, &granted);
        let concurrent = self.pushes.as_ref();
        let concurrent = concurrent.map(|it| it.begin(&credentials, &pushed));
        for source in concurrent.unwrap_or_default() {
            if self.discovery.settings().allows(&pushed, &source) && !sources.contains(&source) {
                sources.push(source);
            }
        }
        let mut expanded = text.to_owned();
        for source in sources {
            if requested.contains(source.as_str()) {
                continue;
            }
            let scope = format!("repository:{source}:pull");
            let more = format!("&scope={}", utf8_percent_encode(&scope, ESCAPED));
            if expanded.len() + more.len() <= LONGEST {
                expanded += &more;
            }
        }
        (expanded.len() > text.len()).then(|| expanded.into_bytes())
    }

    /// Records that more scopes were refused and the client's own were not: a pause begins.
    pub(crate) fn record_refusal(&self) {
        let until = Instant::now() + PAUSE;
        let was_paused = self.paused_until.lock().replace(until);
        if was_paused.is_none() {
            tracing::warn!(
                hint = "set discovery.widen_scopes to false",
                "token request with more scopes refused"
            );
        }
    }

    /// Records what a login was granted of the scopes that it requested.
    pub(crate) async fn record_grant(&self, target: &[u8], head: &Parts, body: &[u8]) {
        let requested = std::str::from_utf8(target).ok().and_then(|text| {
            let (_, query) = text.split_once('?')?;
            scopes(query)
        });
        let (Some(credentials), Some(token), Some(requested)) = (
            Credentials::from_single_header(&head.headers),
            token_lifetime(body),
            requested,
        ) else {
            return;
        };
        let granted = token.pull_repositories();
        for scope in requested.iter().filter(|scope| scope.asks_for("pull")) {
            let Ok(name) = RepositoryName::parse(scope.name()) else {
                continue;
            };
            if granted.contains(name.as_str()) {
                self.granted.learn(&credentials, &name, Use::Pulled).await;
            } else {
                self.granted.forget(&credentials, &name).await;
            }
        }
    }

    fn is_paused(&self) -> bool {
        self.paused_until
            .lock()
            .is_some_and(|until| Instant::now() < until)
    }
}

/// All scopes of a query; `None` if it is malformed.
fn scopes(query: &str) -> Option<Vec<Scope>> {
    let mut scopes = Vec::new();
    for pair in pairs(query) {
        let pair = pair.ok()?;
        if pair.key == "scope" {
            for scope in pair.value.split_whitespace() {
                scopes.push(Scope::parse(scope)?);
            }
        }
    }
    Some(scopes)
}

impl Scope {
    /// The repository, if the scope is for one and includes push.
    fn pushes_to(&self) -> Option<RepositoryName> {
        let is_push = self.kind() == "repository" && self.asks_for("push");
        is_push.then(|| RepositoryName::parse(self.name()).ok())?
    }
}

#[cfg(test)]
mod tests;
