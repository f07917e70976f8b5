//! Configuration: file, environment and flags become one valid [`Config`] or one clear error.
//!
//! `shape` has the names that may be written, and reads the file by them; `env` lays variables and
//! flags over it; the result is a `tree` of settings. `schema` has the sections with the types of
//! their settings, and `leaf` how single values are read and written. `rules` make a [`Config`] of
//! the tree, which cannot hold a contradiction; `effective` writes it as YAML again, with every
//! `secret` masked. No port is bound and no directory opened here.

mod effective;
mod env;
mod leaf;
mod load;
mod rules;
mod schema;
mod secret;
mod shape;
mod tree;

pub use effective::effective;
pub use env::Overrides;
pub use load::ConfigError;
pub(crate) use load::on_one_line;
pub use schema::{
    AccessConfig, AccessMode, AccessName, AdminConfig, ArtifactsConfig, AzureConfig,
    AzureCredentials, BucketConfig, Config, DiscoveryConfig, DistributionConfig,
    DistributionVersion, Durability, EndpointConfig, GcsConfig, GenericConfig, Http2,
    ListenAddress, ListenConfig, LogConfig, LogFormat, MountConfig, MountWriter, PulpConfig,
    RedisAddress, RedisConfig, RedisLogin, RedisServers, RedisUrl, RegistryKind,
    RegistryWriterConfig, ResponseHeaders, S3Config, ShutdownConfig, SourceDenied, Sources,
    StoreConfig, TlsFiles, TokenEndpointConfig, TokenRules, UpstreamConfig, UpstreamTimeouts,
    UpstreamUrl, VerifyConfig,
};
pub use secret::Secret;
pub(crate) use secret::without_login;

#[cfg(test)]
mod tests;
