//! One caller's request for permission to mount.

use tokio::time::Instant;

use crate::auth::credentials::Credentials;
use crate::auth::denial::RecentChallenges;
use crate::auth::grant::Lease;
use crate::auth::grant::{Basis, Grant};
use crate::oci::RepositoryName;
use crate::upstream::MountProbe;
use crate::util::{Fingerprint, Fingerprints};

/// One caller's request to mount, and what is needed to decide it.
pub(in crate::auth) struct AuthRequest<'a> {
    pub target: &'a RepositoryName,
    pub source: &'a RepositoryName,
    pub credentials: &'a Credentials,
    pub recent_challenges: &'a RecentChallenges,
    pub fingerprints: &'a Fingerprints,
    pub deadline: Instant,
}

impl AuthRequest<'_> {
    /// The key under which a decision about this request is cached, for a purpose and a caller.
    pub(crate) fn cache_key(&self, purpose: &str, who: &[u8]) -> Fingerprint {
        let repositories = [
            self.target.as_str().as_bytes(),
            self.source.as_str().as_bytes(),
        ];
        self.fingerprints
            .fingerprint(&[purpose.as_bytes(), who, repositories[0], repositories[1]])
    }

    /// The probe for the registry's own decision, with the caller's credentials.
    pub(crate) fn probe(&self) -> MountProbe<'_> {
        MountProbe {
            target: self.target,
            source: self.source,
            authorization: self.credentials.header(),
            deadline: self.deadline,
        }
    }

    pub(in crate::auth) fn grant(&self, user: Option<String>, basis: Basis, lease: Lease) -> Grant {
        Grant::new(self.target, self.source, user, basis, lease)
    }
}
