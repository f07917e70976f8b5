//! A client's own request for a token to push with, widened by pull on likely sources.
//!
//! The token server decides about each of them, and the token says what it decided: then a layer
//! may be mounted from there for whoever shows the token. A token also lists what was denied, so
//! asked for is only what everybody may know of, and what the same login was granted before.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use http::request::Parts;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::auth::{ClaimsTrust, Credentials, UsageHistory, Use};
use crate::discovery::Discovery;
use crate::oci::RepositoryName;
use crate::token_cache::freshness::token_lifetime;
use crate::token_cache::scope::Scope;
use crate::util::NoRandomness;
use crate::util::query::pairs;

/// Bytes up to which a request line's target grows: servers take 4094 (gunicorn's
/// `limit_request_line`), and more than twice as much elsewhere.
const LONGEST: usize = 2000;
/// How long nothing is widened after a token server has refused that.
const PAUSE: Duration = Duration::from_secs(10 * 60);
/// What a query holds as it is (RFC 3986, 3.4).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b':')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// Widens requests to one token endpoint.
#[derive(Debug)]
pub struct ScopeExpansion {
    path: String,
    discovery: Arc<Discovery>,
    granted: UsageHistory,
    paused_until: Mutex<Option<Instant>>,
}

impl ScopeExpansion {
    /// By what `discovery` holds likely; knows nothing of what logins are granted yet.
    pub fn new(path: &str, discovery: Arc<Discovery>) -> Result<Self, NoRandomness> {
        Ok(Self {
            path: path.to_owned(),
            discovery,
            granted: UsageHistory::new(ClaimsTrust::Ignored)?,
            paused_until: Mutex::default(),
        })
    }

    /// Whether a request asks for a login's token, from whose answer something is learned.
    pub fn is_token_request(&self, target: &[u8], head: &Parts) -> bool {
        let path = target.split(|b| *b == b'?').next();
        let is_login = Credentials::from_single_header(&head.headers)
            .is_some_and(|shown| !shown.is_anonymous());
        head.method == Method::GET && path == Some(self.path.as_bytes()) && is_login
    }

    /// The request line's target with more scopes; `None` where it stays as it is.
    pub async fn expand(&self, target: &[u8], head: &Parts) -> Option<Vec<u8>> {
        if !self.is_token_request(target, head) || self.is_paused() {
            return None;
        }
        let text = std::str::from_utf8(target).ok()?;
        let (_, query) = text.split_once('?')?;
        let scopes = scopes(query)?;
        let pushed = scopes.iter().find_map(Scope::pushes_to)?;
        let asked: HashSet<_> = scopes.iter().map(Scope::name).collect();
        let granted = self
            .granted
            .pull_scope(&Credentials::from_single_header(&head.headers)?)
            .await;
        let mut widened = text.to_owned();
        for source in self.discovery.likely_sources(&pushed, &granted) {
            if asked.contains(source.as_str()) {
                continue;
            }
            let scope = format!("repository:{source}:pull");
            let more = format!("&scope={}", utf8_percent_encode(&scope, ESCAPED));
            if widened.len() + more.len() <= LONGEST {
                widened += &more;
            }
        }
        (widened.len() > text.len()).then(|| widened.into_bytes())
    }

    /// A widened request was refused, and the client's own was not: nothing is widened for a while.
    pub fn record_refusal(&self) {
        let until = Instant::now() + PAUSE;
        let was_paused = self.paused_until.lock().replace(until);
        if was_paused.is_none() {
            tracing::warn!(
                "the token server refuses a request with more scopes: discovery.widen_scopes is no use here"
            );
        }
    }

    /// Learns what a login was granted of what it asked for, from the answer to it.
    pub async fn record_grant(&self, target: &[u8], head: &Parts, body: &[u8]) {
        let asked = std::str::from_utf8(target).ok().and_then(|text| {
            let (_, query) = text.split_once('?')?;
            scopes(query)
        });
        let (Some(credentials), Some(token), Some(asked)) = (
            Credentials::from_single_header(&head.headers),
            token_lifetime(body),
            asked,
        ) else {
            return;
        };
        let granted = token.pull_repositories();
        for scope in asked.iter().filter(|scope| scope.asks_for("pull")) {
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

/// All scopes of a query; `None` where it cannot be read.
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
    /// The repository, where it is one and push is asked for.
    fn pushes_to(&self) -> Option<RepositoryName> {
        let is_push = self.kind() == "repository" && self.asks_for("push");
        is_push.then(|| RepositoryName::parse(self.name()).ok())?
    }
}

#[cfg(test)]
mod tests;
