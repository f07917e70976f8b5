//! How a mount ends, in the words that metrics and logs use.

use crate::access::ChallengeKey;

/// What became of a request to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A link was written here.
    Mounted,
    /// The link was there already.
    AlreadyLinked,
    /// The registry mounted it itself.
    Native,
    /// Bytes were relayed in the mount's place.
    Relayed,
    /// A dry run would have mounted it.
    WouldMount,
    /// It was left to the registry.
    Forwarded,
}

/// Why a mount was left to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is nothing to say.
    None,
    /// The request has a form that only the registry should judge.
    OddRequest,
    /// The caller showed no credentials.
    NoCredentials,
    /// The caller may not.
    Denied,
    /// The client named no source, or the source has no link to the digest.
    SourceMissing,
    /// The blob's data is absent or empty.
    BlobMissing,
    /// The registry takes no writes.
    ReadOnly,
    /// The registry could not be asked.
    UpstreamUnavailable,
    /// The registry refused what the configuration says that it allows.
    AccessMismatch,
    /// The disk refused or failed.
    StoreError,
    /// The time budget was used up.
    Timeout,
    /// Too many mounts waited for the disk.
    Overload,
    /// A plain upload was started in the place of a refused mount.
    Mended,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [
        Self::Mounted,
        Self::AlreadyLinked,
        Self::Native,
        Self::Relayed,
        Self::WouldMount,
        Self::Forwarded,
    ];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mounted => "mounted",
            Self::AlreadyLinked => "already_linked",
            Self::Native => "native",
            Self::Relayed => "relayed",
            Self::WouldMount => "would_mount",
            Self::Forwarded => "forwarded",
        }
    }
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::None,
        Self::OddRequest,
        Self::NoCredentials,
        Self::Denied,
        Self::SourceMissing,
        Self::BlobMissing,
        Self::ReadOnly,
        Self::UpstreamUnavailable,
        Self::AccessMismatch,
        Self::StoreError,
        Self::Timeout,
        Self::Overload,
        Self::Mended,
    ];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::OddRequest => "odd_request",
            Self::NoCredentials => "no_credentials",
            Self::Denied => "denied",
            Self::SourceMissing => "source_missing",
            Self::BlobMissing => "blob_missing",
            Self::ReadOnly => "read_only",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::AccessMismatch => "access_mismatch",
            Self::StoreError => "store_error",
            Self::Timeout => "timeout",
            Self::Overload => "overload",
            Self::Mended => "mended",
        }
    }
}

/// How a mount goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is done: answer 201.
    Done {
        /// Written or already there.
        outcome: Outcome,
        /// Bytes of the blob.
        size: u64,
    },
    /// The registry answers.
    Forward(Forward),
}

/// In which form a request goes to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Unchanged.
    AsItCame,
    /// Without `mount` and `from`: a plain upload.
    Plain,
}

/// A mount that the registry answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// In which form it goes there.
    pub form: Form,
    /// How it is counted, unless the registry mounts it.
    pub outcome: Outcome,
    /// Why it goes there.
    pub reason: Reason,
    /// What to remember if the registry answers with its challenge.
    pub challenge: Option<ChallengeKey>,
    /// Bytes that a dry run would have mounted.
    pub dry_run_size: u64,
}

impl Decision {
    pub(super) fn mounted(size: u64) -> Self {
        Self::Done {
            outcome: Outcome::Mounted,
            size,
        }
    }

    pub(super) fn already_linked(size: u64) -> Self {
        Self::Done {
            outcome: Outcome::AlreadyLinked,
            size,
        }
    }
}

impl Forward {
    /// Unchanged, for a reason.
    #[must_use]
    pub fn as_it_came(reason: Reason) -> Self {
        Self {
            form: Form::AsItCame,
            outcome: Outcome::Forwarded,
            reason,
            challenge: None,
            dry_run_size: 0,
        }
    }

    /// As a plain upload, for a reason.
    pub(super) fn plain(reason: Reason) -> Self {
        Self {
            form: Form::Plain,
            ..Self::as_it_came(reason)
        }
    }

    /// Unchanged, because it is not known yet whether the store is the registry's.
    pub(super) fn unproved() -> Self {
        Self {
            outcome: Outcome::Native,
            ..Self::as_it_came(Reason::None)
        }
    }

    /// Unchanged, because nothing is to be linked.
    pub(super) fn would_mount(size: u64) -> Self {
        Self {
            outcome: Outcome::WouldMount,
            dry_run_size: size,
            ..Self::as_it_came(Reason::None)
        }
    }
}
