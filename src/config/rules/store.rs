//! The store of the registry, and how mounts are answered there.

use std::path::{Path, PathBuf};

use super::{access, bucket, discovery, notifications};
use crate::config::leaf::{Word, parse_size};
use crate::config::tree::{Tree, invalid, only_with};
use crate::config::{
    AccessName, ArtifactsConfig, BucketConfig, ConfigError, DistributionConfig, Durability,
    MountConfig, StoreConfig, VerifyConfig,
};

/// Bytes a second that are hashed by default: this leaves an old disk time for requests.
const VERIFY_RATE: u64 = 64 * 1024 * 1024;

/// `store.verify`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    None,
    Sha256,
}

impl Word for Algorithm {
    const WORDS: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("sha256", Self::Sha256)];
}

pub(super) fn distribution(
    tree: &Tree,
    mount: MountConfig,
    warnings: &mut Vec<String>,
) -> Result<DistributionConfig, ConfigError> {
    if let Some(bucket) = bucket(tree, warnings)? {
        return Err(only_with(bucket.section(), "mount.writer: registry"));
    }
    let version = tree.value("upstream.version")?.unwrap_or_default();
    let access = access::read(tree, version, warnings)?;
    Ok(DistributionConfig {
        version,
        mount,
        discovery: discovery::read(tree, access.mode.name() == AccessName::None)?,
        access,
        store: store(tree)?,
        endpoints: notifications::read(tree)?,
    })
}

fn store(tree: &Tree) -> Result<StoreConfig, ConfigError> {
    let setting = "store.filesystem.rootdirectory";
    let verify = verify(tree)?;
    let question = "is missing: set it to the registry's storage.filesystem.rootdirectory";
    let root = directory(tree, setting, question)?;
    if root.ends_with("docker/registry/v2") {
        return Err(invalid(
            setting,
            "ends with docker/registry/v2, which the registry creates below its rootdirectory: remove that part",
        ));
    }
    let durability = tree.setting("store.durability", Durability::parse_word)?;
    Ok(StoreConfig {
        root,
        durability: durability.unwrap_or(Durability::Full),
        verify,
    })
}

/// The object store in which the registry keeps its data, if it keeps them in one.
pub(super) fn bucket(
    tree: &Tree,
    warnings: &mut Vec<String>,
) -> Result<Option<BucketConfig>, ConfigError> {
    bucket::read(tree, warnings)
}

fn verify(tree: &Tree) -> Result<Option<VerifyConfig>, ConfigError> {
    let algorithm = tree.setting("store.verify", Algorithm::parse_word)?;
    let rate = "store.verify_rate";
    if algorithm != Some(Algorithm::Sha256) {
        if tree.has(rate) {
            return Err(only_with(rate, "store.verify: sha256"));
        }
        return Ok(None);
    }
    let rate = tree.setting(rate, parse_size)?.unwrap_or(VERIFY_RATE);
    Ok(Some(VerifyConfig { rate }))
}

pub(super) fn artifacts(tree: &Tree) -> Result<Option<ArtifactsConfig>, ConfigError> {
    if !tree.has("store.artifacts") {
        return Ok(None);
    }
    let question = "is missing: set it to Pulp's MEDIA_ROOT";
    directory(tree, "store.artifacts.rootdirectory", question)?;
    tree.section("store.artifacts").map(Some)
}

fn directory(tree: &Tree, setting: &str, question: &str) -> Result<PathBuf, ConfigError> {
    tree.require(setting, question)?;
    let root = tree.setting(setting, |text| {
        let is_absolute = Path::new(text).is_absolute();
        is_absolute
            .then(|| text.into())
            .ok_or_else(|| "must be an absolute path".to_owned())
    })?;
    root.ok_or_else(|| invalid(setting, question))
}
