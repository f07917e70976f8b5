//! How mounts are answered, and from what.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::leaf::{Word, all_parsed, all_shown, positive_span, size, word};
use crate::oci::RepositoryName;

/// How mounts are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct MountConfig {
    /// What a client gets that may not pull the source.
    #[serde(with = "word")]
    pub source_denied: SourceDenied,
    /// How long a mount may take before it is left to the upstream.
    #[serde(with = "positive_span")]
    pub time_budget: Duration,
    /// Decide and count, but link nothing.
    pub dry_run: bool,
}

impl Default for MountConfig {
    fn default() -> Self {
        Self {
            source_denied: SourceDenied::Fallback,
            time_budget: Duration::from_secs(2),
            dry_run: false,
        }
    }
}

/// Who writes the links of mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountWriter {
    /// crossmount, in the registry's filesystem store.
    Store,
    /// The registry, by its own mount.
    Registry,
}

impl Word for MountWriter {
    const WORDS: &'static [(&'static str, Self)] =
        &[("store", Self::Store), ("registry", Self::Registry)];
}

/// What a client gets that may not pull the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceDenied {
    /// The 202 of a plain upload.
    Fallback,
    /// The registry's own challenge.
    Challenge,
}

impl Word for SourceDenied {
    const WORDS: &'static [(&'static str, Self)] =
        &[("fallback", Self::Fallback), ("challenge", Self::Challenge)];
}

/// The registry's filesystem store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// distribution's own `rootdirectory`.
    pub root: PathBuf,
    /// What is synced before a 201.
    pub durability: Durability,
    /// If set, a blob is mounted only after its bytes were hashed.
    pub verify: Option<VerifyConfig>,
}

/// How blobs are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyConfig {
    /// Bytes a second at most.
    pub rate: u64,
}

/// What is synced to disk before a mount is answered with 201.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The link and every directory made for it.
    Full,
    /// The link only.
    File,
    /// Nothing.
    None,
}

impl Word for Durability {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("full", Self::Full),
        ("file", Self::File),
        ("none", Self::None),
    ];
}

/// Pulp's artifacts, which are read and never written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct ArtifactsConfig {
    /// Pulp's own `MEDIA_ROOT`.
    #[serde(rename = "rootdirectory")]
    pub root: PathBuf,
    /// Bytes of the largest blob that is copied.
    #[serde(default = "largest", with = "size")]
    pub max_size: u64,
    /// How many are copied at once.
    #[serde(default = "at_once", deserialize_with = "concurrency")]
    pub concurrency: usize,
    /// How long one may take.
    #[serde(default = "deadline", with = "positive_span")]
    pub deadline: Duration,
    /// Repositories below which a request for a blob makes Pulp fetch it from elsewhere.
    #[serde(
        default,
        deserialize_with = "repositories",
        serialize_with = "all_shown"
    )]
    pub pull_through: Vec<RepositoryName>,
}

fn largest() -> u64 {
    512 * 1024 * 1024
}

fn at_once() -> usize {
    2
}

fn deadline() -> Duration {
    Duration::from_secs(10)
}

fn concurrency<'de, D: Deserializer<'de>>(value: D) -> Result<usize, D::Error> {
    match usize::deserialize(value)? {
        0 => Err(D::Error::custom(
            "must be at least 1: leave store.artifacts out to relay nothing",
        )),
        number => Ok(number),
    }
}

fn repositories<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<RepositoryName>, D::Error> {
    all_parsed(value, |path| {
        RepositoryName::parse(path.trim_matches('/'))
            .map_err(|error| format!("{path:?} is no base path such as docker.io: {error}"))
    })
}
