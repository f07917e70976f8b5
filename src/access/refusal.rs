//! What a refused caller gets.

use super::Wish;
use super::credentials::Scheme;
use super::fingerprint::Fingerprint;
use super::unverified::{Mention, Unverified};

/// How a refusal goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The registry's own answer tells the client what it lacks; where a fingerprint is given,
    /// the client may be missing no more than a scope, and the challenge is remembered by it.
    AsItCame(Option<Fingerprint>),
    /// Asking again will not help: `mount.source_denied` applies.
    SourceDenied,
}

/// Words a refusal by what the credentials say of themselves.
///
/// Only who shows a token that was verified, here or by the registry, learns what its subject
/// asked before: a stranger could write anybody's name into one.
pub(super) fn word(wish: &Wish<'_>, is_verified: bool) -> Refusal {
    let token = match wish.credentials.scheme() {
        Scheme::None => return Refusal::AsItCame(None),
        Scheme::Basic(_) | Scheme::Other => return Refusal::SourceDenied,
        Scheme::Bearer(token) => token,
    };
    let claims = Unverified::read(token);
    match claims.mention(wish.source) {
        Mention::WithoutPull => Refusal::SourceDenied,
        // Pull is there, so something else is wrong: expired, or no push on the target.
        Mention::WithPull => Refusal::AsItCame(None),
        Mention::Absent => {
            let subject = claims.subject.filter(|subject| !subject.is_empty());
            let subject = subject.as_deref().unwrap_or(token);
            let challenge = wish.question("challenge", subject.as_bytes());
            if is_verified && wish.challenged.contains(&challenge) {
                Refusal::SourceDenied
            } else {
                Refusal::AsItCame(Some(challenge))
            }
        }
    }
}
