//! The right to write one kind of link.

#[cfg(any(test, feature = "micro"))]
use std::time::Duration;

use crate::auth::lease::Lease;
use crate::oci::RepositoryName;
use crate::upstream::RegistryState;
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
    pub(crate) proof: Proof,
    /// By which the decision is remembered.
    pub(crate) question: Option<Fingerprint>,
}

/// How it was shown that the caller may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The registry allowed exactly these rights to the caller's own credentials.
    UpstreamProbe,
    /// It did so a few seconds ago.
    RememberedProbe,
    /// The caller's bearer token gives them, by the registry's rules and keys.
    Token,
    /// The caller's password is that of a user in the registry's own file.
    Htpasswd,
    /// The caller may use the target, and the operator declares the source readable by every
    /// authenticated caller.
    SharedSource,
    /// The registry has no access control: it allowed them to a request without credentials.
    NoAccessControl,
}

impl Grant {
    pub(crate) fn new(
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
    pub(crate) fn for_shared_source(self, source: &RepositoryName) -> Self {
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
    #[must_use]
    pub fn is_valid(&self, registry_state: &RegistryState) -> bool {
        self.lease.is_valid(registry_state)
    }

    /// The repository that may be linked into.
    #[must_use]
    pub fn target(&self) -> &RepositoryName {
        &self.target
    }

    /// The repository that may be linked from.
    #[must_use]
    pub fn source(&self) -> &RepositoryName {
        &self.source
    }

    /// The caller's name for the log: on one line, and not too long.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        let user = self.user.as_deref()?;
        Some(user.escape_debug().take(LONGEST_NAME).collect())
    }

    /// What the grant rests on.
    #[must_use]
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
    pub(crate) fn new(proof: Proof, question: Option<Fingerprint>) -> Self {
        Self { proof, question }
    }

    /// How it was shown that the caller may.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof
    }
}

impl Proof {
    /// The word that the log uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpstreamProbe => "registry asked",
            Self::RememberedProbe => "registry asked before",
            Self::Token => "token verified",
            Self::Htpasswd => "password verified",
            Self::SharedSource => "source declared shared",
            Self::NoAccessControl => "no access control",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_name_cannot_begin_a_line_of_its_own_in_the_log() {
        let name = RepositoryName::parse("a").unwrap();
        let shown = |user: &str| {
            let basis = Basis::new(Proof::Token, None);
            let lease = Lease::new(RegistryState::default().observe(), Duration::ZERO);
            Grant::new(&name, &name, Some(user.to_owned()), basis, lease).user()
        };
        assert_eq!(shown("alice").as_deref(), Some("alice"));
        assert_eq!(
            shown("a\nlinked\u{1b}").as_deref(),
            Some("a\\nlinked\\u{1b}")
        );
        assert_eq!(shown(&"x".repeat(1000)).unwrap().len(), LONGEST_NAME);
    }
}
