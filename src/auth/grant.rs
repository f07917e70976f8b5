//! The permission to write one kind of link, and how long it may be used.
//!
//! Only [`crate::auth`] can make a [`Grant`]: its constructors are visible there alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strum::AsRefStr;

use crate::oci::RepositoryName;
use crate::upstream::{Observation, RegistryState};
use crate::util::Fingerprint;

/// The longest name of a user that the log shows, in characters.
const LONGEST_NAME: usize = 128;

/// Says that this very request's caller may pull and push `target` and pull `source`.
///
/// Only the access part can make one, and no link is written without one.
#[derive(Debug)]
pub struct Grant {
    target: RepositoryName,
    source: RepositoryName,
    user: Option<String>,
    basis: Basis,
    lease: Lease,
}

/// What a grant rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    pub(in crate::auth) proof: Proof,
    /// By which the decision is remembered.
    pub(in crate::auth) question: Option<Fingerprint>,
}

/// How it was shown that the caller may, in the words of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr)]
pub enum Proof {
    /// The registry allowed exactly these rights to the caller's own credentials.
    #[strum(serialize = "registry asked")]
    UpstreamProbe,
    /// It did so a few seconds ago.
    #[strum(serialize = "registry asked before")]
    RememberedProbe,
    /// The caller's bearer token gives them, by the registry's rules and keys.
    #[strum(serialize = "token verified")]
    Token,
    /// The caller's password is that of a user in the registry's own file.
    #[strum(serialize = "password verified")]
    Htpasswd,
    /// The caller may use the target, and the operator declares the source readable by every
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

    /// The same for a source that the operator declares readable by every authenticated caller.
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

    /// Whether it may still be used: decisions age, and are taken back.
    pub fn is_valid(&self, registry_state: &RegistryState) -> bool {
        self.lease.is_valid(registry_state)
    }

    /// The repository that may be linked into.
    pub fn target(&self) -> &RepositoryName {
        &self.target
    }

    /// The repository that may be linked from.
    pub fn source(&self) -> &RepositoryName {
        &self.source
    }

    /// The caller's name for the log: on one line, and not too long.
    pub fn user(&self) -> Option<String> {
        let user = self.user.as_deref()?;
        Some(user.escape_debug().take(LONGEST_NAME).collect())
    }

    /// What the grant rests on.
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
    pub(in crate::auth) fn new(proof: Proof, question: Option<Fingerprint>) -> Self {
        Self { proof, question }
    }

    /// How it was shown that the caller may.
    pub fn proof(&self) -> Proof {
        self.proof
    }
}

/// Writing a link takes a moment, also where no decision is to be remembered.
const AT_LEAST: Duration = Duration::from_secs(1);

/// A yes of the registry's, and how long it counts.
///
/// Whoever uses a grant looks at this again just before the link becomes visible. Clones are
/// the same yes: one that is withdrawn is withdrawn for all that rests on it.
#[derive(Debug, Clone)]
pub(in crate::auth) struct Lease {
    observation: Observation,
    until: Instant,
    is_withdrawn: Arc<AtomicBool>,
}

impl Lease {
    /// For so long after `observation` was taken, before the registry was asked.
    pub fn new(observation: Observation, counts_for: Duration) -> Self {
        Self {
            until: observation.observed_at() + counts_for.max(AT_LEAST),
            observation,
            is_withdrawn: Arc::default(),
        }
    }

    /// The same yes, and no longer than until then.
    pub fn limited_to(mut self, until: Option<Instant>) -> Self {
        self.until = until.map_or(self.until, |until| self.until.min(until));
        self
    }

    /// Whether it counts now, beside this registry.
    pub fn is_valid(&self, registry_state: &RegistryState) -> bool {
        Instant::now() < self.until
            && !self.is_withdrawn.load(Ordering::Acquire)
            && registry_state.is_unchanged_since(&self.observation)
    }

    /// Whether a grant may rest on it that is used a moment later.
    ///
    /// The last tenth of its time belongs to links that are on their way, as with the registry's
    /// word that it is writable.
    pub fn has_time_left(&self, registry_state: &RegistryState) -> bool {
        let moment = self
            .until
            .saturating_duration_since(self.observation.observed_at())
            / 10;
        Instant::now() + moment < self.until && self.is_valid(registry_state)
    }

    /// The registry has taken it back.
    pub fn revoke(&self) {
        self.is_withdrawn.store(true, Ordering::Release);
    }

    /// How old the yes is.
    pub fn age(&self) -> Duration {
        self.observation.observed_at().elapsed()
    }
}

#[cfg(test)]
mod tests;
