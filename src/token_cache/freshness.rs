//! How long a response of a token endpoint may be cached.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use serde::Deserialize;

use crate::auth::UnverifiedClaims;
use crate::token_cache::scope::Scope;

/// What may be done with a response besides sending it to its client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Equal requests may get it within this time.
    Keep(Duration),
    /// Equal requests that were in flight at the same time may get it.
    Share,
    /// It is for its own client alone.
    Leave,
}

/// The members of a response that matter (the token specification of distribution,
/// `docs/content/spec/auth/token.md`).
#[derive(Deserialize)]
struct TokenBody {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    /// In seconds; a minute if it is absent.
    #[serde(default)]
    expires_in: Option<u64>,
    /// It yields new tokens, and belongs to one client.
    #[serde(default)]
    refresh_token: Option<serde_json::Value>,
}

impl TokenBody {
    /// The token, under either of its names, if they do not differ.
    fn token(&self) -> Option<UnverifiedClaims> {
        match (&self.token, &self.access_token) {
            (Some(one), Some(other)) if one != other => None,
            (Some(token), _) | (None, Some(token)) => Some(UnverifiedClaims::read(token)),
            (None, None) => None,
        }
    }
}

/// The token in a response.
pub(crate) fn token_lifetime(body: &[u8]) -> Option<UnverifiedClaims> {
    serde_json::from_slice::<TokenBody>(body).ok()?.token()
}

/// Judges a response to a request for these scopes, which may be cached for at most `ttl`.
pub(crate) fn freshness_of(
    head: &ResponseHeader,
    body: &[u8],
    scopes: &[Scope],
    ttl: Duration,
) -> Freshness {
    let Some(allowed) = allowed_by(head, ttl) else {
        return Freshness::Leave;
    };
    let Ok(body) = serde_json::from_slice::<TokenBody>(body) else {
        return Freshness::Leave;
    };
    let Some(token) = body.token() else {
        return Freshness::Leave;
    };
    if body.refresh_token.is_some() {
        return Freshness::Leave;
    }
    // A token without the requested scopes is a refusal, and not cached.
    if !scopes.iter().all(|scope| scope.is_granted_by(&token)) {
        return Freshness::Share;
    }
    let Some(half) = until_half_of_its_life(&token, body.expires_in) else {
        return Freshness::Share;
    };
    Freshness::Keep(half.min(allowed))
}

/// How long the response's headers allow it to be cached, at most `ttl`.
fn allowed_by(head: &ResponseHeader, ttl: Duration) -> Option<Duration> {
    let headers = &head.headers;
    let is_somebodys = headers.contains_key(header::SET_COOKIE);
    // Without an age in seconds, Expires is a date by an unknown clock.
    let is_dated = headers.contains_key(header::EXPIRES);
    if head.status != StatusCode::OK || is_somebodys {
        return None;
    }
    let mut most = None;
    for directive in directives(headers) {
        let (name, value) = directive.split_once('=').unwrap_or((&*directive, ""));
        match name {
            "no-store" | "no-cache" | "private" => return None,
            // The directive for shared caches wins.
            "s-maxage" => most = Some(value.trim_matches('"').parse().ok()?),
            "max-age" if most.is_none() => most = Some(value.trim_matches('"').parse().ok()?),
            _ => {}
        }
    }
    if is_dated && most.is_none() {
        return None;
    }
    let age = headers
        .get(header::AGE)
        .map_or(Some(0), |value| value.to_str().ok()?.parse().ok())?;
    let fresh = most.map(|most: u64| Duration::from_secs(most.saturating_sub(age)));
    Some(fresh.map_or(ttl, |fresh| fresh.min(ttl)))
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let all = headers.get_all(header::CACHE_CONTROL).iter();
    all.flat_map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        let parts: Vec<_> = text.split(',').map(|part| part.trim().to_owned()).collect();
        parts
    })
}

/// A token is only sent while more than half of its life is left.
fn until_half_of_its_life(token: &UnverifiedClaims, expires_in: Option<u64>) -> Option<Duration> {
    let (issued, expires) = token.validity_seconds()?;
    let life = Duration::try_from_secs_f64(expires - issued).ok()?;
    let expires_in = Duration::from_secs(expires_in.unwrap_or(60));
    let half = life.min(expires_in) / 2;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    // A server's clock that is ahead must not make a token live longer.
    let age = Duration::try_from_secs_f64(now.as_secs_f64() - issued).unwrap_or_default();
    half.checked_sub(age).filter(|left| !left.is_zero())
}

/// The request headers that the response varies by, with their values; `None` if it varies by
/// everything.
pub(crate) fn varies_by(
    answer: &HeaderMap,
    request: &HeaderMap,
) -> Option<Vec<(HeaderName, Vec<HeaderValue>)>> {
    let mut values_of = Vec::new();
    for value in answer.get_all(header::VARY) {
        for name in value.to_str().ok()?.split(',').map(str::trim) {
            if name.is_empty() {
                continue;
            }
            let name = HeaderName::from_bytes(name.as_bytes())
                .ok()
                .filter(|_| name != "*")?;
            let values = request.get_all(&name).iter().cloned().collect();
            values_of.push((name, values));
        }
    }
    Some(values_of)
}

#[cfg(test)]
mod tests;
