//! What a refused caller gets.

use super::Wish;
use super::challenged::ChallengeKey;
use super::claims::{Claims, Mention};
use super::credentials::Scheme;

/// How a refusal goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The registry's own answer tells the client what it lacks; where a key is given,
    /// the client may be missing no more than a scope, and the challenge is remembered.
    AsItCame(Option<ChallengeKey>),
    /// Asking again will not help: `mount.source_denied` applies.
    SourceDenied,
}

/// Words a refusal by what the credentials say of themselves.
pub(super) fn word(wish: &Wish<'_>) -> Refusal {
    let token = match wish.credentials.scheme() {
        Scheme::None => return Refusal::AsItCame(None),
        Scheme::Other => return Refusal::SourceDenied,
        Scheme::Bearer(token) => token,
    };
    let claims = Claims::read(token);
    match claims.mention(wish.source) {
        Mention::WithoutPull => Refusal::SourceDenied,
        // Pull is there, so something else is wrong: expired, or no push on the target.
        Mention::WithPull => Refusal::AsItCame(None),
        Mention::Absent => {
            let subject = claims.subject.filter(|subject| !subject.is_empty());
            let subject = subject.as_deref().unwrap_or(token);
            let key = ChallengeKey::new(subject, wish.target, wish.source);
            if wish.challenged.contains(&key) {
                Refusal::SourceDenied
            } else {
                Refusal::AsItCame(Some(key))
            }
        }
    }
}
