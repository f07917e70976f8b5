//! How a mount ends, in the words that metrics and logs use.

use strum::{AsRefStr, IntoStaticStr, VariantArray};

/// What became of a request to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Via {
    /// The client said it.
    From,
    /// It was suggested for a mount.
    Discovery,
    /// It was suggested for a HEAD.
    Head,
}

/// Why a mount was left to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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
