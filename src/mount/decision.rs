//! What is decided about a mount.

use crate::auth::Basis;
use crate::mount::link_job::VerifyFailure;
use crate::oci::RepositoryName;
use crate::telemetry::outcome::{Outcome, Reason, Via};
use crate::util::Fingerprint;

/// How a mount goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is done: answer 201.
    Done(Mounted),
    /// The registry answers.
    Forward(Forward),
}

/// A mount that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Written or already there.
    pub outcome: Outcome,
    /// Bytes of the blob.
    pub size: u64,
    /// How its source was found.
    pub via: Via,
    /// The source.
    pub source: RepositoryName,
    /// The caller's name, where one is known.
    pub user: Option<String>,
}

/// In which form a request goes to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardForm {
    /// Unchanged.
    AsItCame,
    /// Without `mount` and `from`: a plain upload.
    Plain,
}

/// A mount that the registry answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// In which form it goes there.
    pub form: ForwardForm,
    /// How it is counted, unless the registry mounts it.
    pub outcome: Outcome,
    /// Why it goes there.
    pub reason: Reason,
    /// What to remember if the registry answers with its challenge.
    pub challenge: Option<Fingerprint>,
    /// What the caller had been granted the mount for, if so.
    pub granted: Option<Basis>,
    /// Bytes that a dry run would have mounted.
    pub dry_run_size: u64,
    /// How the source was found that it would have mounted from.
    pub via: Via,
}

impl Decision {
    /// Where a dry run found what it would have mounted, the request goes on as without it.
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
    /// Unchanged, for a reason.
    pub fn as_it_came(reason: Reason) -> Self {
        Self {
            form: ForwardForm::AsItCame,
            outcome: Outcome::Forwarded,
            reason,
            challenge: None,
            granted: None,
            dry_run_size: 0,
            via: Via::From,
        }
    }

    /// As a plain upload, for a reason.
    pub(crate) fn plain(reason: Reason) -> Self {
        Self {
            form: ForwardForm::Plain,
            ..Self::as_it_came(reason)
        }
    }

    /// Unchanged, because it is not known yet whether the store is the registry's.
    pub(crate) fn store_unverified() -> Self {
        Self {
            outcome: Outcome::Native,
            ..Self::as_it_came(Reason::None)
        }
    }

    /// The registry may mount what was not hashed yet, as it would without us; not what is
    /// damaged, or looks so.
    pub(crate) fn verify_failed(doubt: VerifyFailure) -> Self {
        match doubt {
            VerifyFailure::Unverified => Self {
                outcome: Outcome::Native,
                ..Self::as_it_came(Reason::BlobUnverified)
            },
            VerifyFailure::Changed => Self::plain(Reason::BlobUnverified),
            VerifyFailure::Damaged => Self::plain(Reason::BlobDamaged),
        }
    }

    /// Unchanged, because nothing is to be linked.
    pub(crate) fn would_mount(size: u64, via: Via) -> Self {
        Self {
            outcome: Outcome::WouldMount,
            dry_run_size: size,
            via,
            ..Self::as_it_came(Reason::None)
        }
    }
}
