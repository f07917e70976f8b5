//! The configuration file's shape: every name that users may write, and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole file. Every key is optional; `validate` knows what must be there.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub listen: Listen,
    pub admin: Admin,
    pub upstream: Upstream,
    pub store: Store,
    pub access: Access,
    pub mount: Mount,
    pub mend: Mend,
    pub discovery: Discovery,
    pub token_endpoint: TokenEndpoint,
    pub notifications: Notifications,
    pub shutdown: Shutdown,
    pub log: Log,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    pub address: Option<String>,
    pub header_timeout: Option<String>,
    pub http2: Option<bool>,
    pub h2c: Option<bool>,
    pub tls: Option<Tls>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    pub certificate: Option<String>,
    pub key: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Admin {
    pub address: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Upstream {
    pub url: Option<String>,
    pub kind: Option<String>,
    pub version: Option<u8>,
    pub ca_certificate: Option<String>,
    pub client_certificate: Option<String>,
    pub client_key: Option<String>,
    pub external_url: Option<String>,
    pub relative_urls: Option<bool>,
    pub prefix: Option<String>,
    pub response_headers: BTreeMap<String, Vec<String>>,
    pub timeouts: Timeouts,
    pub trusted_proxies: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Timeouts {
    pub connect: Option<String>,
    pub read: Option<String>,
    pub write: Option<String>,
    pub idle: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    pub filesystem: Option<Filesystem>,
    pub artifacts: Option<Artifacts>,
    pub durability: Option<String>,
    pub verify: Option<String>,
    pub verify_rate: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Filesystem {
    pub rootdirectory: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Artifacts {
    pub rootdirectory: Option<String>,
    pub max_size: Option<String>,
    pub concurrency: Option<u32>,
    pub deadline: Option<String>,
    pub pull_through: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Access {
    pub mode: Option<String>,
    pub decision_ttl: Option<String>,
    pub token: Option<Token>,
    pub htpasswd: Option<Htpasswd>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Token {
    pub issuer: Option<String>,
    pub service: Option<String>,
    pub rootcertbundle: Option<String>,
    pub jwks: Option<String>,
    pub signingalgorithms: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Htpasswd {
    pub path: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mount {
    pub source_denied: Option<String>,
    pub time_budget: Option<String>,
    pub dry_run: Option<bool>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mend {
    pub statuses: Option<Vec<u16>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Discovery {
    pub enabled: Option<bool>,
    pub on_head: Option<bool>,
    pub new_repositories: Option<bool>,
    pub sources: Option<String>,
    pub shared_sources: Vec<String>,
    pub widen_scopes: Option<bool>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TokenEndpoint {
    pub path: Option<String>,
    pub cache: TokenCache,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TokenCache {
    pub enabled: Option<bool>,
    pub ttl: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Notifications {
    pub endpoints: Vec<Endpoint>,
}

/// As in distribution's own `notifications.endpoints`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Endpoint {
    pub name: Option<String>,
    pub url: Option<String>,
    pub headers: BTreeMap<String, Vec<String>>,
    pub timeout: Option<String>,
    pub threshold: Option<u32>,
    pub backoff: Option<String>,
    pub disabled: Option<bool>,
    pub ignoredmediatypes: Vec<String>,
    pub ignore: Option<Ignore>,
}

/// Events that an endpoint does not want.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ignore {
    pub mediatypes: Vec<String>,
    pub actions: Vec<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Shutdown {
    pub drain_delay: Option<String>,
    pub timeout: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub level: Option<String>,
    pub format: Option<String>,
}
