//! The configuration in effect, written as a complete file.
//!
//! It is made from the valid [`Config`], so that it contains defaults, environment and flags. It has
//! the file's own shape, so that its keys are the documented ones. Values that may be credentials
//! are masked. Only settings that have an effect are in it: but for masked values, the text is a
//! valid configuration itself.

use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_yaml::Value;

use super::leaf::{Word, show_size, show_span};
use super::shape::FileShape;
use super::tree::Tree;
use super::{
    AccessConfig, AccessMode, BucketConfig, Config, DiscoveryConfig, DistributionConfig,
    GenericConfig, MountWriter, PulpConfig, RegistryKind, RegistryWriterConfig, StoreConfig,
    TokenEndpointConfig,
};

/// The configuration in effect as YAML, by the documented names. No secret is in it: values of
/// `upstream.response_headers`, logins in URLs, keys, and headers and paths of endpoints are masked. Paths of files are shown.
#[must_use]
pub fn effective(config: &Config) -> String {
    // Cannot happen with this shape; a page without this part is better than none.
    serde_yaml::to_string(config).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
}

impl Serialize for Config {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let tree = tree(self).map_err(S::Error::custom)?;
        without_nothing(tree).serialize(out)
    }
}

fn tree(config: &Config) -> Result<Value, serde_yaml::Error> {
    // Part by part, so that a new one cannot be forgotten here.
    let Config {
        listen,
        admin,
        upstream,
        kind,
        token_endpoint,
        shutdown,
        log,
        warnings: _,
    } = config;
    let mut tree = Tree::default();
    tree.write("listen", listen)?;
    tree.write("admin", admin)?;
    tree.write("upstream", upstream)?;
    tree.write("shutdown", shutdown)?;
    tree.write("log", log)?;
    let discovery = match kind {
        RegistryKind::Distribution(DistributionConfig {
            version,
            endpoints,
            store,
            access,
            mount,
            discovery,
        }) => {
            tree.write("upstream.kind", "distribution")?;
            tree.write("upstream.version", version)?;
            tree.write("notifications.endpoints", endpoints)?;
            set_store(&mut tree, store)?;
            set_access(&mut tree, access)?;
            tree.write("mount", mount)?;
            tree.write("mount.writer", MountWriter::Store.word())?;
            discovery
        }
        RegistryKind::RegistryWriter(RegistryWriterConfig {
            access,
            bucket,
            generic,
        }) => {
            tree.write("upstream.kind", "distribution")?;
            tree.write("mount.writer", MountWriter::Registry.word())?;
            tree.write("access.mode", access.word())?;
            if let Some(bucket) = bucket {
                set_bucket(&mut tree, bucket)?;
            }
            set_generic(&mut tree, generic)?
        }
        RegistryKind::Pulp(PulpConfig {
            artifacts,
            discovery,
            time_budget,
        }) => {
            tree.write("upstream.kind", "pulp")?;
            tree.write("upstream.relative_urls", ())?;
            tree.write("store.artifacts", artifacts)?;
            let budget = discovery.as_ref().map(|_| show_span(*time_budget));
            tree.write("mount.time_budget", budget)?;
            discovery
        }
        RegistryKind::Generic(generic) => {
            tree.write("upstream.kind", "generic")?;
            set_generic(&mut tree, generic)?
        }
    };
    tree.write("discovery", discovery)?;
    tree.write("discovery.enabled", discovery.is_some())?;
    let is_scanned = match kind {
        RegistryKind::Distribution(_) => true,
        RegistryKind::RegistryWriter(settings) => settings.bucket.is_some(),
        RegistryKind::Pulp(_) | RegistryKind::Generic(_) => false,
    };
    if !is_scanned {
        tree.write("discovery.scan_interval", ())?;
    }
    if !matches!(kind, RegistryKind::Distribution(_)) {
        tree.write("discovery.search_repositories", ())?;
        tree.write("discovery.search_time", ())?;
    }
    if let Some(TokenEndpointConfig {
        path,
        remembered_for,
        widens_scopes,
    }) = token_endpoint
    {
        tree.write("token_endpoint.path", path)?;
        tree.write("token_endpoint.cache.enabled", remembered_for.is_some())?;
        tree.write("token_endpoint.cache.ttl", remembered_for.map(show_span))?;
        tree.write("discovery.widen_scopes", widens_scopes)?;
    }
    // In the file's order.
    let file: FileShape = serde_yaml::from_value(tree.into_inner())?;
    serde_yaml::to_value(file)
}

/// Writes how the registry's own mounts are mended, and returns the settings of discovery.
fn set_generic<'a>(
    tree: &mut Tree,
    generic: &'a GenericConfig,
) -> Result<&'a Option<DiscoveryConfig>, serde_yaml::Error> {
    let GenericConfig {
        statuses,
        source_denied,
        discovery,
        time_budget,
    } = generic;
    tree.write("upstream.relative_urls", ())?;
    let statuses: Vec<_> = statuses.iter().map(http::StatusCode::as_u16).collect();
    tree.write("mend.statuses", statuses)?;
    tree.write("mount.source_denied", source_denied.word())?;
    let budget = discovery.as_ref().map(|_| show_span(*time_budget));
    tree.write("mount.time_budget", budget)?;
    Ok(discovery)
}

fn set_store(tree: &mut Tree, store: &StoreConfig) -> Result<(), serde_yaml::Error> {
    let StoreConfig {
        root,
        durability,
        verify,
    } = store;
    tree.write("store.filesystem.rootdirectory", root)?;
    tree.write("store.durability", durability.word())?;
    tree.write("store.verify", verify.map_or("none", |_| "sha256"))?;
    tree.write("store.verify_rate", verify.map(|it| show_size(it.rate)))
}

fn set_bucket(tree: &mut Tree, bucket: &BucketConfig) -> Result<(), serde_yaml::Error> {
    if let BucketConfig::Azure(azure) = bucket {
        let version = if azure.has_leading_slash { 2 } else { 3 };
        tree.write("upstream.version", version)?;
    }
    tree.write(bucket.section(), bucket)
}

fn set_access(tree: &mut Tree, access: &AccessConfig) -> Result<(), serde_yaml::Error> {
    let AccessConfig { mode, decision_ttl } = access;
    tree.write("access.mode", mode.word())?;
    tree.write("access.decision_ttl", show_span(*decision_ttl))?;
    match mode {
        AccessMode::Upstream | AccessMode::None => Ok(()),
        AccessMode::Token(rules) => tree.write("access.token", rules),
        AccessMode::Htpasswd(path) => tree.write("access.htpasswd.path", path),
    }
}

/// Leaves out lists and sections in which nothing is.
fn without_nothing(value: Value) -> Value {
    match value {
        Value::Mapping(section) => {
            let fields = section
                .into_iter()
                .map(|(key, value)| (key, without_nothing(value)));
            let kept = fields.filter(|(key, value)| match value {
                // Every list is empty by default but for this one: then nothing is replaced.
                Value::Sequence(values) => !values.is_empty() || key == "statuses",
                Value::Mapping(section) => !section.is_empty(),
                _ => true,
            });
            Value::Mapping(kept.collect())
        }
        Value::Sequence(values) => values.into_iter().map(without_nothing).collect(),
        value => value,
    }
}

#[cfg(test)]
mod tests;
