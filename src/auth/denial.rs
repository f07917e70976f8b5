//! What a refused caller gets.

use tokio::time::Instant;

use crate::auth::AuthRequest;
use crate::auth::claims::{ScopeMention, UnverifiedClaims};
use crate::auth::credentials::CredentialScheme;
use crate::auth::credentials::Credentials;
use crate::auth::recent_challenges::RecentChallenges;
use crate::oci::RepositoryName;
use crate::util::{Fingerprint, Fingerprints, NoRandomness};

/// How a refusal goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
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
pub(crate) fn denial_for(request: &AuthRequest<'_>, is_verified: bool) -> Denial {
    let token = match request.credentials.scheme() {
        CredentialScheme::None => return Denial::AsItCame(None),
        CredentialScheme::Basic(_) | CredentialScheme::Other => return Denial::SourceDenied,
        CredentialScheme::Bearer(token) => token,
    };
    let claims = UnverifiedClaims::read(token);
    match claims.scope_mention(request.source) {
        ScopeMention::WithoutPull => Denial::SourceDenied,
        // Pull is there, so something else is wrong: expired, or no push on the target.
        ScopeMention::WithPull => Denial::AsItCame(None),
        ScopeMention::Absent => {
            let subject = claims.subject.filter(|subject| !subject.is_empty());
            let subject = subject.as_deref().unwrap_or(token);
            let challenge = request.cache_key("challenge", subject.as_bytes());
            if is_verified && request.recent_challenges.contains(&challenge) {
                Denial::SourceDenied
            } else {
                Denial::AsItCame(Some(challenge))
            }
        }
    }
}

/// Words refusals of a registry that decides everything itself.
#[derive(Debug)]
pub struct Denials {
    recent_challenges: RecentChallenges,
    fingerprints: Fingerprints,
}

impl Denials {
    /// Remembers nothing yet.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self {
            recent_challenges: RecentChallenges::default(),
            fingerprints: Fingerprints::new()?,
        })
    }

    /// Words the registry's refusal to mount from `source` into `target`; `is_verified` says
    /// whether it has verified the token.
    pub fn word(
        &self,
        target: &RepositoryName,
        source: &RepositoryName,
        credentials: &Credentials,
        is_verified: bool,
    ) -> Denial {
        let request = AuthRequest {
            target,
            source,
            credentials,
            recent_challenges: &self.recent_challenges,
            fingerprints: &self.fingerprints,
            deadline: Instant::now(),
        };
        denial_for(&request, is_verified)
    }

    /// Remembers that a caller got the registry's own challenge for a pair of repositories.
    pub fn was_challenged(&self, challenge: Fingerprint) {
        self.recent_challenges.record(challenge);
    }
}
