//! The values of metrics' labels, beside those of `outcome`.

use strum::{AsRefStr, VariantArray};

/// What was decided about access.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum AccessResult {
    Allowed,
    Denied,
    Unknown,
}

/// Who decided about access.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum DecidedBy {
    Upstream,
    Memory,
    Token,
    Htpasswd,
    None,
}

/// Where the response to a token request came from.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum TokenSource {
    Upstream,
    Memory,
}

/// What a scan of the store came by.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum ScanItem {
    Link,
    Repository,
    Unreadable,
}

/// What became of a blob that was to be hashed.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum VerifyResult {
    Good,
    Damaged,
    Unreadable,
    Changed,
    Dropped,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum NotificationResult {
    Sent,
    Failed,
    Dropped,
}

/// A part of a mount that works on the store.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum StoreOperation {
    Locate,
    Link,
}
