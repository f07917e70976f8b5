//! The values of all labels but those in `outcome`.

use strum::{AsRefStr, VariantArray};

/// The result of an access decision.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum AccessResult {
    Allowed,
    Denied,
    Unknown,
}

/// What decided about access.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum DecidedBy {
    Upstream,
    Memory,
    Token,
    Htpasswd,
    None,
}

/// Whether the token cache had the response to a token request.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum CacheResult {
    Miss,
    Hit,
}

/// What a scan of the store counts.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum ScanItem {
    Link,
    Repository,
    Unreadable,
}

/// The result of a call to the object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum BucketResult {
    Ok,
    Denied,
    Throttled,
    Error,
    Timeout,
}

/// The result of a request to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum RedisResult {
    Answered,
    Failed,
    TimedOut,
    Skipped,
    Dropped,
}

/// The result of hashing a blob.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum VerifyResult {
    Good,
    Damaged,
    Unreadable,
    Changed,
    Dropped,
}

/// The result of sending an event.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum NotificationResult {
    Sent,
    Failed,
    Dropped,
}

/// A step of a mount in the store.
#[derive(Debug, Clone, Copy, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum StoreOperation {
    Locate,
    Search,
    Link,
}

/// How a search for a layer in the store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum SearchResult {
    Found,
    NotFound,
    /// The operator's limits were reached before.
    Limit,
}
