//! The permission to write one link, and how long it may be used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strum::AsRefStr;

use crate::oci::RepositoryName;
use crate::upstream::{Observation, RegistryState};
use crate::util::Fingerprint;

/// The longest user name in the log, in characters.
const LONGEST_NAME: usize = 128;

/// Proves that the caller of this very request may pull and push `target` and pull `source`.
///
/// Only [`crate::auth`] can make one, and no link is written without one.
#[derive(Debug)]
pub struct Grant {
    target: RepositoryName,
    source: RepositoryName,
    user: Option<String>,
    basis: Basis,
    lease: Lease,
}

/// On what a grant rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    pub(in crate::auth) proof: Proof,
    /// The key under which the decision is cached.
    pub(in crate::auth) cache_key: Option<Fingerprint>,
}

/// How the permissions were shown, with the value in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr)]
pub enum Proof {
    /// A probe: the registry allowed exactly these permissions to the caller's own credentials.
    #[strum(serialize = "registry asked")]
    UpstreamProbe,
    /// Such a probe of a few seconds ago, from the cache.
    #[strum(serialize = "registry asked before")]
    RememberedProbe,
    /// The caller's bearer token has them, by the registry's rules and keys.
    #[strum(serialize = "token verified")]
    Token,
    /// The caller's password is that of a user in the registry's htpasswd file.
    #[strum(serialize = "password verified")]
    Htpasswd,
    /// The caller may use the target, and the operator declared the source readable by every
    /// authenticated caller.
    #[strum(serialize = "source declared shared")]
    SharedSource,
    /// The registry has no access control: it allowed them to a request without credentials.
    #[strum(serialize = "no access control")]
    NoAccessControl,
}

impl Grant {
    pub(in crate::auth) fn new(
        target: &RepositoryName,
        source: &RepositoryName,
        user: Option<String>,
        basis: Basis,
        lease: Lease,
    ) -> Self {
        Self {
            target: target.clone(),
            source: source.clone(),
            user,
            basis,
            lease,
        }
    }

    /// The same grant for a source that the operator declared readable by every authenticated
    /// caller.
    pub(in crate::auth) fn for_shared_source(self, source: &RepositoryName) -> Self {
        Self {
            source: source.clone(),
            basis: Basis {
                proof: Proof::SharedSource,
                ..self.basis
            },
            ..self
        }
    }

    /// Whether it may still be used: decisions expire and are revoked.
    pub fn is_valid(&self, registry_state: &RegistryState) -> bool {
        self.lease.is_valid(registry_state)
    }

    /// The repository to link into.
    pub fn target(&self) -> &RepositoryName {
        &self.target
    }

    /// The repository that holds the layer.
    pub fn source(&self) -> &RepositoryName {
        &self.source
    }

    /// The caller's name for the log: on one line, and of limited length.
    pub fn user(&self) -> Option<String> {
        let user = self.user.as_deref()?;
        Some(user.escape_debug().take(LONGEST_NAME).collect())
    }

    pub fn basis(&self) -> Basis {
        self.basis
    }

    #[cfg(any(test, feature = "micro"))]
    pub(crate) fn for_test(target: &RepositoryName, source: &RepositoryName) -> Self {
        Self::new(
            target,
            source,
            None,
            Basis::new(Proof::NoAccessControl, None),
            Lease::new(RegistryState::default().observe(), Duration::from_secs(60)),
        )
    }
}

impl Basis {
    pub(in crate::auth) fn new(proof: Proof, cache_key: Option<Fingerprint>) -> Self {
        Self { proof, cache_key }
    }

    pub fn proof(&self) -> Proof {
        self.proof
    }
}

/// To write a link takes a moment, even if decisions are not cached.
const AT_LEAST: Duration = Duration::from_secs(1);

/// A permission by the registry, and how long it counts.
///
/// It is checked again just before a link becomes visible. Clones share it: if one is revoked, so
/// is every grant that rests on it.
#[derive(Debug, Clone)]
pub(in crate::auth) struct Lease {
    observation: Observation,
    until: Instant,
    is_withdrawn: Arc<AtomicBool>,
}

impl Lease {
    /// Counts for so long after `observation`, which was taken before the probe was sent.
    pub(crate) fn new(observation: Observation, counts_for: Duration) -> Self {
        Self {
            until: observation.observed_at() + counts_for.max(AT_LEAST),
            observation,
            is_withdrawn: Arc::default(),
        }
    }

    /// The same lease, ending at the latest then.
    pub(crate) fn limited_to(mut self, until: Option<Instant>) -> Self {
        self.until = until.map_or(self.until, |until| self.until.min(until));
        self
    }

    /// Whether it counts now, beside this registry.
    pub(crate) fn is_valid(&self, registry_state: &RegistryState) -> bool {
        Instant::now() < self.until
            && !self.is_withdrawn.load(Ordering::Acquire)
            && registry_state.is_unchanged_since(&self.observation)
    }

    /// Whether a grant may rest on it that is used a moment later.
    ///
    /// The last tenth of its time is for links in flight, as for write-availability probes.
    pub(crate) fn has_time_left(&self, registry_state: &RegistryState) -> bool {
        let moment = self
            .until
            .saturating_duration_since(self.observation.observed_at())
            / 10;
        Instant::now() + moment < self.until && self.is_valid(registry_state)
    }

    /// Revokes it for every clone.
    pub(crate) fn revoke(&self) {
        self.is_withdrawn.store(true, Ordering::Release);
    }

    /// The age of the permission.
    pub(crate) fn age(&self) -> Duration {
        self.observation.observed_at().elapsed()
    }
}

#[cfg(test)]
mod tests;
