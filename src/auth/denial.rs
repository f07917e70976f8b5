//! How the mount of a refused caller goes on, which depends on whether the caller got the registry's
//! challenge for the same repositories within the last minute.

use std::time::{Duration, Instant};

use dashmap::DashMap;

use crate::auth::AuthRequest;
use crate::auth::claims::{ScopeMention, UnverifiedClaims};
use crate::auth::credentials::{CredentialScheme, Credentials};
use crate::oci::RepositoryName;
use crate::util::{Fingerprint, Fingerprints, NoRandomness};

/// How a refused mount goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// As it came: the registry's own response names what the client lacks. With a fingerprint
    /// the client may lack no more than a scope, and the challenge is recorded under it.
    AsItCame(Option<Fingerprint>),
    /// A new attempt would be refused too: `mount.source_denied` applies.
    SourceDenied,
}

/// Chooses the denial by what the credentials claim.
///
/// Earlier challenges count only for a token that is verified, here or by the registry: any client
/// could write another user's name into a token.
pub(crate) fn denial_for(request: &AuthRequest<'_>, is_verified: bool) -> Denial {
    let token = match request.credentials.scheme() {
        CredentialScheme::None => return Denial::AsItCame(None),
        CredentialScheme::Basic(_) | CredentialScheme::Other => return Denial::SourceDenied,
        CredentialScheme::Bearer(token) => token,
    };
    let claims = UnverifiedClaims::read(token);
    match claims.scope_mention(request.source) {
        ScopeMention::WithoutPull => Denial::SourceDenied,
        // Pull is listed, so the cause is another one: expired, or no push on the target.
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

/// Chooses denials in front of a registry that decides all access.
#[derive(Debug)]
pub(crate) struct Denials {
    recent_challenges: RecentChallenges,
    fingerprints: Fingerprints,
}

impl Denials {
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        Ok(Self {
            recent_challenges: RecentChallenges::default(),
            fingerprints: Fingerprints::new()?,
        })
    }

    /// The denial for the registry's refusal to mount from `source` into `target`; `is_verified`
    /// says whether it has verified the token.
    pub(crate) fn word(
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
            deadline: tokio::time::Instant::now(),
        };
        denial_for(&request, is_verified)
    }

    /// Records that a caller got the registry's own challenge for a pair of repositories.
    pub(crate) fn was_challenged(&self, challenge: Fingerprint) {
        self.recent_challenges.record(challenge);
    }
}

/// How long a challenge counts.
const REMEMBERED: Duration = Duration::from_secs(60);
/// The most challenges that are kept; beyond that, none is added until some expire.
const BOUND: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(crate) struct RecentChallenges(DashMap<Fingerprint, Instant>);

impl RecentChallenges {
    pub(crate) fn record(&self, key: Fingerprint) {
        if self.0.len() >= BOUND {
            self.0.retain(|_, since| since.elapsed() < REMEMBERED);
        }
        if self.0.len() < BOUND {
            self.0.insert(key, Instant::now());
        }
    }

    pub(crate) fn contains(&self, key: &Fingerprint) -> bool {
        self.0
            .get(key)
            .is_some_and(|since| since.elapsed() < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::Fingerprints;

    #[test]
    fn a_challenge_is_recorded_for_its_own_request_alone() {
        let (recent_challenges, prints) =
            (RecentChallenges::default(), Fingerprints::new().unwrap());
        recent_challenges.record(prints.fingerprint(&[b"alice", b"dst", b"src"]));
        assert!(recent_challenges.contains(&prints.fingerprint(&[b"alice", b"dst", b"src"])));
        assert!(!recent_challenges.contains(&prints.fingerprint(&[b"bob", b"dst", b"src"])));
    }

    #[test]
    fn the_number_of_challenges_is_bounded() {
        let (recent_challenges, prints) =
            (RecentChallenges::default(), Fingerprints::new().unwrap());
        for number in 0..BOUND + 10 {
            recent_challenges.record(prints.fingerprint(&[&number.to_be_bytes()]));
        }
        assert_eq!(recent_challenges.0.len(), BOUND);
    }
}
