//! A token server that gives every login what it asks for, but for what it is told to deny.

use super::misbehaving_upstream::{MisbehavingUpstream, ReceivedRequest, Reply, answer, ok};
use super::token_issuer::TokenIssuer;
use serde_json::json;
use std::sync::Arc;

/// Ends with the test process.
pub struct TokenServer {
    server: MisbehavingUpstream,
}

impl TokenServer {
    pub fn start(tokens: Arc<TokenIssuer>) -> Self {
        Self::denying(tokens, |_, _| false)
    }

    /// `denies` decides by the header `Authorization` and the repository.
    pub fn denying(
        tokens: Arc<TokenIssuer>,
        denies: impl Fn(&str, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let server = MisbehavingUpstream::start(move |heard| {
            let Some(login) = heard.header("Authorization") else {
                return Reply::Answer(answer("401 Unauthorized", ""));
            };
            let mut asked = scopes(heard);
            asked.retain(|(name, _)| !denies(login, name));
            let asked: Vec<(&str, Vec<&str>)> = asked
                .iter()
                .map(|(name, actions)| (name.as_str(), actions.split(',').collect()))
                .collect();
            let access: Vec<(&str, &[&str])> = asked
                .iter()
                .map(|(name, actions)| (*name, actions.as_slice()))
                .collect();
            let token = tokens.token("alice", &access);
            let body = json!({"token": token, "expires_in": 300});
            Reply::Answer(ok(&body.to_string()))
        });
        Self { server }
    }

    pub fn realm(&self) -> String {
        format!("{}/token", self.server.url())
    }
}

/// Repositories and actions of a request's query.
fn scopes(heard: &ReceivedRequest) -> Vec<(String, String)> {
    let query = heard.target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="));
    let plain = |text: &str| {
        let text = text
            .replace("%3A", ":")
            .replace("%2F", "/")
            .replace("%2C", ",");
        text.replace("%20", " ").replace('+', " ")
    };
    let words: Vec<_> = pairs.map(plain).collect();
    let scopes = words.iter().flat_map(|text| text.split(' '));
    let repository = |scope: &str| {
        let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
        Some((name.to_owned(), actions.to_owned()))
    };
    scopes.filter_map(repository).collect()
}
