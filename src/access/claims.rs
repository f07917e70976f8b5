//! A token's claims, read without verifying anything.
//!
//! They decide only how a refusal is worded, never whether somebody may.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::oci::RepositoryName;

/// Longer tokens are not looked into.
const MAX_LENGTH: usize = 64 * 1024;

/// The claims that matter for the wording of a refusal.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Claims {
    #[serde(default, rename = "sub")]
    pub subject: Option<String>,
    #[serde(default)]
    access: Option<Vec<Entry>>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    actions: Option<Vec<String>>,
}

/// What a token says about pulling from a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mention {
    /// Nothing: the client did not ask for the scope.
    Absent,
    /// The repository is listed, pull is not: the client asked and did not get it.
    WithoutPull,
    /// Pull is listed.
    WithPull,
}

impl Claims {
    /// Reads what can be read; what cannot is as if it were not there.
    pub fn read(token: &str) -> Self {
        let payload = token.split('.').nth(1).unwrap_or_default();
        if token.len() > MAX_LENGTH {
            return Self::default();
        }
        URL_SAFE_NO_PAD
            .decode(payload.trim_end_matches('='))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }

    pub fn mention(&self, repository: &RepositoryName) -> Mention {
        let mut entries = self
            .access
            .iter()
            .flatten()
            .filter(|entry| entry.kind == "repository" && entry.name == repository.as_str())
            .peekable();
        if entries.peek().is_none() {
            return Mention::Absent;
        }
        let pulls = |action: &String| matches!(action.as_str(), "pull" | "*");
        if entries.any(|entry| entry.actions.iter().flatten().any(pulls)) {
            Mention::WithPull
        } else {
            Mention::WithoutPull
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
            ("[]", Mention::Absent),
            ("null", Mention::Absent),
            (
                r#"[{"type":"repository","name":"team/src2","actions":["pull"]}]"#,
                Mention::Absent,
            ),
            (
                r#"[{"type":"registry","name":"team/src","actions":["pull"]}]"#,
                Mention::Absent,
            ),
            (
                r#"[{"type":"repository","name":"team/src","actions":[]}]"#,
                Mention::WithoutPull,
            ),
            (
                r#"[{"type":"repository","name":"team/src","actions":null}]"#,
                Mention::WithoutPull,
            ),
            (
                r#"[{"type":"repository","name":"team/src","actions":["push"]}]"#,
                Mention::WithoutPull,
            ),
            (
                r#"[{"type":"repository","name":"team/src","actions":["*"]}]"#,
                Mention::WithPull,
            ),
            (
                r#"[{"type":"repository","name":"team/src","actions":["push"]},{"type":"repository","name":"team/src","actions":["pull"]}]"#,
                Mention::WithPull,
            ),
        ] {
            let claims = Claims::read(&token(&format!(r#"{{"sub":"a","access":{access}}}"#)));
            assert_eq!(claims.mention(&source), mention, "{access}");
            assert_eq!(claims.subject.as_deref(), Some("a"));
        }
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
            let claims = Claims::read(text);
            assert_eq!(claims.mention(&source), Mention::Absent);
            assert_eq!(claims.subject, None);
        }
    }
}
