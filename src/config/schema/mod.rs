//! The sections of a configuration: their settings are their fields, with their types.
//!
//! [`RegistryKind`] has what differs between registries. Only the rules make it, so that a valid
//! configuration cannot hold a contradiction.

mod access;
mod address;
mod bucket;
mod discovery;
mod endpoint;
mod mount;
mod process;
mod redis;
mod redis_url;
mod upstream;

pub use access::{AccessConfig, AccessMode, AccessName, TokenEndpointConfig, TokenRules};
pub use address::{ListenAddress, UpstreamUrl};
pub use bucket::{AzureConfig, AzureCredentials, BucketConfig, GcsConfig, S3Config};
pub use discovery::{DiscoveryConfig, Sources};
pub use endpoint::EndpointConfig;
pub use mount::{
    ArtifactsConfig, Durability, MountConfig, MountWriter, SourceDenied, StoreConfig, VerifyConfig,
};
pub use process::{
    AdminConfig, Http2, ListenConfig, LogConfig, LogFormat, ShutdownConfig, TlsFiles,
};
pub use redis::RedisConfig;
pub use redis_url::{RedisAddress, RedisLogin, RedisServers, RedisUrl};
pub use upstream::{DistributionVersion, ResponseHeaders, UpstreamConfig, UpstreamTimeouts};

use std::time::Duration;

use http::StatusCode;

/// A valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The registry's port for clients.
    pub listen: ListenConfig,
    /// Metrics and health.
    pub admin: AdminConfig,
    /// The registry behind crossmount.
    pub upstream: UpstreamConfig,
    /// The kind of registry, which decides how mounts are answered.
    pub kind: RegistryKind,
    /// The registry's own token endpoint, if tokens are cached or scopes are added.
    pub token_endpoint: Option<TokenEndpointConfig>,
    /// How the process ends.
    pub shutdown: ShutdownConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Findings that do not keep the process from starting; each is logged once.
    pub warnings: Vec<String>,
}

impl Config {
    /// Whether clients speak plain HTTP and the registry speaks TLS, and no setting says which
    /// scheme a Location has.
    #[must_use]
    pub fn is_plain_before_tls(&self) -> bool {
        let upstream = &self.upstream;
        let is_said = upstream.external_url.is_some() || upstream.relative_urls;
        self.listen.tls.is_none() && upstream.url.is_tls() && !is_said
    }
}

/// The kind of the registry behind.
#[derive(Debug, Clone, PartialEq)]
pub enum RegistryKind {
    /// CNCF distribution: links are written in its store.
    Distribution(DistributionConfig),
    /// CNCF distribution: its own mount is requested, and nothing is written.
    RegistryWriter(RegistryWriterConfig),
    /// Pulp: its own mount is requested in the form that it takes, and its misses are replaced.
    Pulp(PulpConfig),
    /// Any other registry: responses to its own mount that break clients are replaced.
    Generic(GenericConfig),
}

impl RegistryKind {
    /// The settings of discovery, if it is enabled.
    pub(crate) fn discovery(&self) -> Option<&DiscoveryConfig> {
        match self {
            Self::Distribution(settings) => settings.discovery.as_ref(),
            Self::RegistryWriter(settings) => settings.generic.discovery.as_ref(),
            Self::Pulp(settings) => settings.discovery.as_ref(),
            Self::Generic(settings) => settings.discovery.as_ref(),
        }
    }
}

/// What is needed to write links beside distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct DistributionConfig {
    /// Its major version.
    pub version: DistributionVersion,
    /// Webhooks that receive the mounts that the registry does not see.
    pub endpoints: Vec<EndpointConfig>,
    /// The store with its layer links.
    pub store: StoreConfig,
    /// How access is decided, and for how long a decision is cached.
    pub access: AccessConfig,
    /// How mounts are answered.
    pub mount: MountConfig,
    /// Discovery of sources, if it is enabled.
    pub discovery: Option<DiscoveryConfig>,
}

/// In front of Pulp.
#[derive(Debug, Clone, PartialEq)]
pub struct PulpConfig {
    /// Pulp's artifacts, if layers that Pulp cannot mount yet are copied.
    pub artifacts: Option<ArtifactsConfig>,
    /// Discovery of sources, if it is enabled.
    pub discovery: Option<DiscoveryConfig>,
    /// How long discovery may take.
    pub time_budget: Duration,
}

/// In front of distribution whose store crossmount does not write to.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistryWriterConfig {
    /// For which callers a source is tried, before the registry decides.
    pub access: AccessName,
    /// The object store of its data, if crossmount is to list it.
    pub bucket: Option<BucketConfig>,
    /// The rules for its responses, and where layers may come from.
    pub generic: GenericConfig,
}

/// In front of any other registry.
#[derive(Debug, Clone, PartialEq)]
pub struct GenericConfig {
    /// Responses to a mount that are replaced by a plain upload.
    pub statuses: Vec<StatusCode>,
    /// What a client gets that may not pull the source.
    pub source_denied: SourceDenied,
    /// Discovery of sources, if it is enabled.
    pub discovery: Option<DiscoveryConfig>,
    /// How long discovery may take.
    pub time_budget: Duration,
}
