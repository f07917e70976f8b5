//! How a mount ends: the label values of metrics and logs.

use strum::{AsRefStr, IntoStaticStr, VariantArray};

/// How a mount request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// crossmount wrote the link.
    Mounted,
    /// The link existed already.
    AlreadyLinked,
    /// The registry mounted.
    Native,
    /// crossmount copied the bytes instead.
    Relayed,
    /// A dry run would have mounted.
    WouldMount,
    /// The request was forwarded.
    Forwarded,
}

/// How crossmount came to the source of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Via {
    /// The client named it.
    From,
    /// Discovery suggested it for a mount.
    Discovery,
    /// Discovery suggested it for a HEAD.
    Head,
    /// A HEAD waited for its upload.
    Wait,
}

impl Via {
    /// Whether the client asked only whether the layer is there.
    pub(crate) fn is_head(self) -> bool {
        matches!(self, Self::Head | Self::Wait)
    }
}

/// Why a mount was forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// No reason.
    None,
    /// The request is ambiguous, so only the registry can judge it.
    OddRequest,
    /// The request has no credentials.
    NoCredentials,
    /// The caller lacks a permission.
    Denied,
    /// The client named no source, or the source has no link to the digest.
    SourceMissing,
    /// The blob's data is absent or empty.
    BlobMissing,
    /// The blob's data, as it is now, was not hashed yet.
    BlobUnverified,
    /// The blob's bytes do not have its digest.
    BlobDamaged,
    /// The registry accepts no writes.
    ReadOnly,
    /// The registry sent no response to a probe.
    UpstreamUnavailable,
    /// The registry refused what crossmount's own check allows.
    AccessMismatch,
    /// The store returned an error.
    StoreError,
    /// The time budget ran out.
    Timeout,
    /// Too many jobs were queued.
    Overload,
    /// A plain upload was started in place of a refused mount.
    Mended,
}
