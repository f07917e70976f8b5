//! Reads a token's claims without verifying anything.
//!
//! They never decide whether a caller may do anything. They choose the kind of denial, name the
//! caller in the log, and limit how long a decision or a response of the registry is cached.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::oci::RepositoryName;

/// Longer tokens are not parsed.
const MAX_LENGTH: usize = 64 * 1024;

/// The claims that are used.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct UnverifiedClaims {
    #[serde(default, rename = "sub")]
    pub subject: Option<String>,
    /// Seconds since 1970.
    #[serde(default, rename = "exp")]
    expires: Option<f64>,
    /// Seconds since 1970.
    #[serde(default, rename = "iat")]
    issued: Option<f64>,
    #[serde(default)]
    access: Option<Vec<UnverifiedEntry>>,
}

#[derive(Debug, Deserialize)]
struct UnverifiedEntry {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    actions: Option<Vec<String>>,
}

/// What a token claims about pull on a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScopeMention {
    /// Nothing: the client did not request the scope.
    Absent,
    /// The repository is listed without pull: the client requested the scope and did not get it.
    WithoutPull,
    /// Pull is listed.
    WithPull,
}

impl UnverifiedClaims {
    /// Reads what can be parsed; the rest counts as absent.
    pub(crate) fn read(token: &str) -> Self {
        let payload = token.trim().split('.').nth(1).unwrap_or_default();
        if token.len() > MAX_LENGTH {
            return Self::default();
        }
        URL_SAFE_NO_PAD
            .decode(payload.trim_end_matches('='))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }

    /// The time until the token expires, if it has an expiry.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let left = self.expires? - now.as_secs_f64();
        Some(Duration::try_from_secs_f64(left).unwrap_or_default())
    }

    /// When it was issued and when it expires, in seconds since 1970, if it says both.
    pub(crate) fn validity_seconds(&self) -> Option<(f64, f64)> {
        self.issued.zip(self.expires)
    }

    /// Whether an action on a resource is listed.
    pub(crate) fn list_scope(&self, kind: &str, name: &str, action: &str) -> bool {
        let is_its = |entry: &&UnverifiedEntry| entry.kind == kind && entry.name == name;
        let mut entries = self.access.iter().flatten().filter(is_its);
        entries.any(|entry| {
            entry
                .actions
                .iter()
                .flatten()
                .any(|listed| listed == action)
        })
    }

    /// Whether push on a repository is listed.
    pub(crate) fn lists_push(&self, repository: &RepositoryName) -> bool {
        let lists = |action| self.list_scope("repository", repository.as_str(), action);
        lists("push") || lists("*")
    }

    /// The repositories for which pull is listed.
    pub(crate) fn pull_repositories(&self) -> HashSet<String> {
        let pulls = |action: &String| matches!(action.as_str(), "pull" | "*");
        let is_its = |entry: &&UnverifiedEntry| {
            entry.kind == "repository" && entry.actions.iter().flatten().any(pulls)
        };
        let entries = self.access.iter().flatten().filter(is_its);
        entries.map(|entry| entry.name.clone()).collect()
    }

    pub(crate) fn scope_mention(&self, repository: &RepositoryName) -> ScopeMention {
        let mut entries = self
            .access
            .iter()
            .flatten()
            .filter(|entry| entry.kind == "repository" && entry.name == repository.as_str())
            .peekable();
        if entries.peek().is_none() {
            return ScopeMention::Absent;
        }
        let pulls = |action: &String| matches!(action.as_str(), "pull" | "*");
        if entries.any(|entry| entry.actions.iter().flatten().any(pulls)) {
            ScopeMention::WithPull
        } else {
            ScopeMention::WithoutPull
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_source_is_mentioned_with_or_without_pull_or_not_at_all() {
        let source = RepositoryName::parse("team/src").unwrap();
        for (access, mention) in [
            ("[]", ScopeMention::Absent),
            ("null", ScopeMention::Absent),
            (
                r#"[{"type":"repository","name":"team/src2","actions":["pull"]}]"#,
                ScopeMention::Absent,
            ),
            (
                r#"[{"type":"registry","name":"team/src","actions":["pull"]}]"#,
                ScopeMention::Absent,
            ),
            (
                r#"[{"type":"repository","name":"team/src","actions":[]}]"#,
                ScopeMention::WithoutPull,
            ),
            (
                r#"[{"type":"repository","name":"team/src","actions":null}]"#,
                ScopeMention::WithoutPull,
            ),
            (
                r#"[{"type":"repository","name":"team/src","actions":["push"]}]"#,
                ScopeMention::WithoutPull,
            ),
            (
                r#"[{"type":"repository","name":"team/src","actions":["*"]}]"#,
                ScopeMention::WithPull,
            ),
            (
                r#"[{"type":"repository","name":"team/src","actions":["push"]},{"type":"repository","name":"team/src","actions":["pull"]}]"#,
                ScopeMention::WithPull,
            ),
        ] {
            let claims =
                UnverifiedClaims::read(&token(&format!(r#"{{"sub":"a","access":{access}}}"#)));
            assert_eq!(claims.scope_mention(&source), mention, "{access}");
            assert_eq!(claims.subject.as_deref(), Some("a"));
        }
    }

    #[test]
    fn a_token_lives_until_its_end() {
        let lifetime = |exp: &str| {
            let token = token(&format!(r#"{{"sub":"a","exp":{exp}}}"#));
            UnverifiedClaims::read(&token).lifetime()
        };
        assert_eq!(lifetime("null"), None);
        assert_eq!(lifetime("1000000000"), Some(Duration::ZERO));
        let long = lifetime("253402300799").unwrap();
        assert!(long > Duration::from_secs(200_000_000_000), "{long:?}");
        assert_eq!(lifetime("1e300"), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_no_token_mentions_nothing() {
        let source = RepositoryName::parse("src").unwrap();
        for text in [
            "",
            "opaque",
            "a.b.c",
            "..",
            &token("not json"),
            &token("[]"),
        ] {
            let claims = UnverifiedClaims::read(text);
            assert_eq!(claims.scope_mention(&source), ScopeMention::Absent);
            assert_eq!(claims.subject, None);
        }
    }
}
