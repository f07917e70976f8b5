//! From which other repositories layers are mounted.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::RedisConfig;
use crate::config::leaf::{Word, positive_span, word};
use crate::oci::{Patterns, RepositoryName};

/// From which other repositories layers are mounted, for clients that do not name one.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DiscoveryConfig {
    /// Whether a HEAD of a layer that the target lacks is answered too.
    pub on_head: bool,
    /// Whether such a HEAD may link into a repository that does not exist yet.
    pub new_repositories: bool,
    /// The repositories that may be a source.
    #[serde(with = "word")]
    pub sources: Sources,
    /// Repositories that every authenticated caller may pull.
    #[serde(
        rename = "shared_sources",
        deserialize_with = "patterns",
        serialize_with = "texts"
    )]
    pub shared: Patterns,
    /// How long the scan of the store rests after it reached the end.
    #[serde(with = "positive_span")]
    pub scan_interval: Duration,
    /// How many repositories one request looks for a layer in, in the store; 0 for none.
    pub search_repositories: u32,
    /// How long one request looks for a layer in the store.
    #[serde(with = "positive_span")]
    pub search_time: Duration,
    /// How long after its deletion no HEAD brings a layer back.
    #[serde(with = "positive_span")]
    pub deleted_for: Duration,
    /// A Redis or Valkey through which replicas share what they know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisConfig>,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            on_head: false,
            new_repositories: true,
            sources: Sources::Shared,
            shared: Patterns::default(),
            scan_interval: Duration::from_secs(60 * 60),
            search_repositories: 100_000,
            search_time: Duration::from_millis(200),
            deleted_for: Duration::from_secs(60 * 60),
            redis: None,
        }
    }
}

impl DiscoveryConfig {
    /// Whether the operator lets layers of `source` be mounted into `target`, for callers who may
    /// pull it.
    #[must_use]
    pub fn allows(&self, target: &RepositoryName, source: &RepositoryName) -> bool {
        match self.sources {
            Sources::Shared => self.shared.matches(source),
            Sources::Namespace => self.shared.matches(source) || source.is_beside(target),
            Sources::Any => true,
        }
    }
}

/// From which repositories layers are mounted for clients that do not name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// Those in `shared_sources`.
    Shared,
    /// Those in `shared_sources`, and those of the target's own namespace.
    Namespace,
    /// All repositories that the caller may pull.
    Any,
}

impl Word for Sources {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("shared", Self::Shared),
        ("namespace", Self::Namespace),
        ("any", Self::Any),
    ];
}

fn patterns<'de, D: Deserializer<'de>>(value: D) -> Result<Patterns, D::Error> {
    let texts = Vec::<String>::deserialize(value)?;
    Patterns::parse(texts.iter().map(String::as_str)).map_err(D::Error::custom)
}

fn texts<S: Serializer>(patterns: &Patterns, out: S) -> Result<S::Ok, S::Error> {
    patterns.texts().serialize(out)
}
