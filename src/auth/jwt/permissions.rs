//! What a token allows.

use crate::auth::jwt::parse::{AccessEntry, TokenClaims};
use crate::oci::RepositoryName;

/// Whether a token gives a mount's rights: pull and push on the target, pull on the source.
///
/// Entries of one name are united, names are exact, and `*` is every action
/// (`registry/auth/token/token.go`, `accessSet`).
pub(crate) fn cover(
    claims: &TokenClaims,
    target: &RepositoryName,
    source: &RepositoryName,
) -> bool {
    may(claims, target, "pull") && may(claims, target, "push") && may(claims, source, "pull")
}

fn may(claims: &TokenClaims, repository: &RepositoryName, action: &str) -> bool {
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
