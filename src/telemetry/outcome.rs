//! How a mount ends, in the words that metrics and logs use.

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

/// How it was found where the layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The client said it.
    From,
    /// It was suggested for a mount.
    Discovery,
    /// It was suggested for a HEAD.
    Head,
}

impl Via {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::From, Self::Discovery, Self::Head];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::Discovery => "discovery",
            Self::Head => "head",
        }
    }
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
    /// The blob's bytes were not hashed yet as they lie there now.
    BlobUnverified,
    /// The blob's bytes are not what its digest says.
    BlobDamaged,
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
    pub const ALL: [Self; 15] = [
        Self::None,
        Self::OddRequest,
        Self::NoCredentials,
        Self::Denied,
        Self::SourceMissing,
        Self::BlobMissing,
        Self::BlobUnverified,
        Self::BlobDamaged,
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
            Self::BlobUnverified => "blob_unverified",
            Self::BlobDamaged => "blob_damaged",
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
