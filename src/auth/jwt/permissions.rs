//! The permissions in a token's claims.

use crate::auth::jwt::parse::{AccessEntry, TokenClaims};
use crate::oci::RepositoryName;

/// Whether a token has a mount's permissions: pull and push on the target, pull on the source.
///
/// Entries of one name are united, names are exact, and `*` is every action
/// (`registry/auth/token/token.go`, `accessSet`).
pub(crate) fn covers_request(
    claims: &TokenClaims,
    target: &RepositoryName,
    source: &RepositoryName,
) -> bool {
    allows_action(claims, target, "pull")
        && allows_action(claims, target, "push")
        && allows_action(claims, source, "pull")
}

fn allows_action(claims: &TokenClaims, repository: &RepositoryName, action: &str) -> bool {
    let entries = claims.access.iter().flatten();
    let is_it = |entry: &&AccessEntry| {
        entry.kind.as_deref() == Some("repository")
            && entry.name.as_deref() == Some(repository.as_str())
    };
    entries
        .filter(is_it)
        .flat_map(|entry| entry.actions.iter().flatten())
        .any(|listed| listed == action || listed == "*")
}
