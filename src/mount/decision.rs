//! The outcome of a mount request: done, or forwarded for a reason.

use crate::auth::Basis;
use crate::mount::link_job::VerifyFailure;
use crate::oci::RepositoryName;
use crate::telemetry::outcome::{Outcome, Reason, Via};
use crate::util::Fingerprint;

/// What the proxy does with a mount request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The layer is linked: respond 201.
    Done(Mounted),
    /// The request is forwarded to the registry.
    Forward(Forward),
}

/// A mount that crossmount made or confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// `Mounted` or `AlreadyLinked`.
    pub outcome: Outcome,
    /// The blob's length in bytes.
    pub size: u64,
    /// How crossmount came to the source.
    pub via: Via,
    pub source: RepositoryName,
    /// The caller's name, if it is known.
    pub user: Option<String>,
}

/// In which form a request is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardForm {
    /// Unchanged.
    AsItCame,
    /// Without `mount` and `from`: a plain upload.
    Plain,
}

/// A mount request that the registry responds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forward {
    pub form: ForwardForm,
    /// What is counted, unless the registry's response is a mount.
    pub outcome: Outcome,
    /// Why it is forwarded; counted with the outcome.
    pub reason: Reason,
    /// The key under which the registry's challenge is recorded, if it responds with one.
    pub challenge: Option<Fingerprint>,
    /// On what basis access was granted, if it was.
    pub granted: Option<Basis>,
    /// The bytes of the layer that a dry run would have mounted, or that the registry mounted from
    /// a suggested source.
    pub size: u64,
    /// How the source of that mount was found.
    pub via: Via,
}

impl Decision {
    /// A dry run that found a source leaves the request as it would be without discovery.
    pub(crate) fn in_form_of(self, forward: Forward) -> Self {
        match self {
            Self::Forward(found) => Self::Forward(Forward {
                form: forward.form,
                challenge: forward.challenge,
                granted: forward.granted,
                ..found
            }),
            done @ Self::Done(_) => done,
        }
    }
}

impl Forward {
    /// Unchanged, for this reason.
    pub(crate) fn as_it_came(reason: Reason) -> Self {
        Self {
            form: ForwardForm::AsItCame,
            outcome: Outcome::Forwarded,
            reason,
            challenge: None,
            granted: None,
            size: 0,
            via: Via::From,
        }
    }

    /// As a plain upload, for this reason.
    pub(crate) fn plain(reason: Reason) -> Self {
        Self {
            form: ForwardForm::Plain,
            ..Self::as_it_came(reason)
        }
    }

    /// Unchanged, because the store is not verified yet.
    pub(crate) fn store_unverified() -> Self {
        Self {
            outcome: Outcome::Native,
            ..Self::as_it_came(Reason::None)
        }
    }

    /// The registry may mount a blob that was not hashed yet, as it would without crossmount. A
    /// damaged blob, or one that was written to since, becomes a plain upload.
    pub(crate) fn verify_failed(failure: VerifyFailure) -> Self {
        match failure {
            VerifyFailure::Unverified => Self {
                outcome: Outcome::Native,
                ..Self::as_it_came(Reason::BlobUnverified)
            },
            VerifyFailure::Changed => Self::plain(Reason::BlobUnverified),
            VerifyFailure::Damaged => Self::plain(Reason::BlobDamaged),
        }
    }

    /// Unchanged, because a dry run links nothing.
    pub(crate) fn would_mount(size: u64, via: Via) -> Self {
        Self {
            outcome: Outcome::WouldMount,
            size,
            via,
            ..Self::as_it_came(Reason::None)
        }
    }
}
