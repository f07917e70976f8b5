//! Every name that users may write, and the kind of YAML value that it takes.
//!
//! The file is parsed by its shape before its values are validated, for two reasons. Only the parser
//! can name the line of an unknown key, and only here a text such as `1.10` is still as the operator
//! wrote it. A wrong value is no error if a variable replaces it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

/// The kind of value that a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScalarKind {
    Text,
    Flag,
    Number,
    /// No scalar, so that no variable can set it.
    List,
}

/// The kind of value at a place of the file.
pub(super) trait Shape {
    const KIND: ScalarKind = ScalarKind::List;

    /// Adds the settings at this path and below it.
    fn settings(path: &str, found: &mut Vec<(String, ScalarKind)>) {
        found.push((path.to_owned(), Self::KIND));
    }
}

impl Shape for String {
    const KIND: ScalarKind = ScalarKind::Text;
}

impl Shape for bool {
    const KIND: ScalarKind = ScalarKind::Flag;
}

impl Shape for u32 {
    const KIND: ScalarKind = ScalarKind::Number;
}

impl<T> Shape for Vec<T> {}

impl Shape for BTreeMap<String, Vec<String>> {}

impl Shape for BTreeMap<String, String> {}

/// A text, a number or a truth value, each written as it likes: distribution takes them all.
#[derive(Debug, Deserialize, Serialize)]
#[serde(try_from = "Value")]
pub(super) struct AnyScalar(Value);

impl TryFrom<Value> for AnyScalar {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        match value {
            Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(Self(value)),
            _ => Err("expected a text, a number or a truth value"),
        }
    }
}

impl Shape for AnyScalar {
    const KIND: ScalarKind = ScalarKind::Text;
}

macro_rules! sections {
    ($($section:ident { $($name:ident: $shape:ty,)* })*) => {$(
        #[derive(Debug, Default, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, default, expecting = "a mapping")]
        pub(super) struct $section {
            $(#[serde(skip_serializing_if = "Option::is_none")] $name: Option<$shape>,)*
        }

        impl Shape for $section {
            fn settings(path: &str, found: &mut Vec<(String, ScalarKind)>) {
                let dot = if path.is_empty() { "" } else { "." };
                $(
                    // The name of a Rust keyword has a mark before it.
                    let name = stringify!($name).trim_start_matches("r#");
                    <$shape>::settings(&format!("{path}{dot}{name}"), found);
                )*
            }
        }
    )*};
}

sections! {
    FileShape {
        listen: ListenShape, admin: AdminShape, upstream: UpstreamShape, store: StoreShape,
        access: AccessShape, mount: MountShape, mend: MendShape, discovery: DiscoveryShape,
        token_endpoint: TokenEndpointShape, notifications: NotificationsShape,
        shutdown: ShutdownShape, log: LogShape,
    }
    ListenShape { address: String, header_timeout: String, http2: bool, h2c: bool, tls: TlsShape, }
    TlsShape { certificate: String, key: String, }
    AdminShape { address: String, }
    UpstreamShape {
        url: String, kind: String, version: u32, ca_certificate: String,
        client_certificate: String, client_key: String, external_url: String,
        relative_urls: bool, prefix: String, response_headers: BTreeMap<String, Vec<String>>,
        timeouts: TimeoutsShape, trusted_proxies: Vec<String>,
    }
    TimeoutsShape { connect: String, read: String, write: String, idle: String, }
    StoreShape {
        filesystem: FilesystemShape, artifacts: ArtifactsShape, durability: String,
        verify: String, verify_rate: String, s3: S3Shape, azure: AzureShape, gcs: GcsShape,
    }
    FilesystemShape { rootdirectory: String, }
    S3Shape {
        bucket: String, region: String, regionendpoint: String, forcepathstyle: AnyScalar,
        rootdirectory: String, secure: AnyScalar, skipverify: AnyScalar, accesskey: String,
        secretkey: String, usedualstack: AnyScalar, usefipsendpoint: AnyScalar, v4auth: AnyScalar,
        encrypt: AnyScalar, keyid: AnyScalar, chunksize: AnyScalar,
        multipartcopychunksize: AnyScalar, multipartcopymaxconcurrency: AnyScalar,
        multipartcopythresholdsize: AnyScalar, storageclass: AnyScalar, objectacl: AnyScalar,
        useragent: AnyScalar, accelerate: AnyScalar, loglevel: AnyScalar,
        redirectendpoint: AnyScalar,
    }
    AzureShape {
        accountname: String, accountkey: String, container: String, realm: String,
        serviceurl: String, rootdirectory: String, skipverify: AnyScalar,
        credentials: AzureCredentialsShape, max_retries: AnyScalar, retry_delay: AnyScalar,
        connectionstring: AnyScalar,
    }
    AzureCredentialsShape { r#type: String, clientid: String, tenantid: String, secret: String, }
    GcsShape {
        bucket: String, keyfile: String, credentials: BTreeMap<String, String>,
        rootdirectory: String, chunksize: AnyScalar, maxconcurrency: AnyScalar,
        useragent: AnyScalar,
    }
    ArtifactsShape {
        rootdirectory: String, max_size: String, concurrency: u32, deadline: String,
        pull_through: Vec<String>,
    }
    AccessShape { mode: String, decision_ttl: String, token: TokenShape, htpasswd: HtpasswdShape, }
    TokenShape {
        issuer: String, service: String, rootcertbundle: String, jwks: String,
        signingalgorithms: Vec<String>,
    }
    HtpasswdShape { path: String, }
    MountShape { writer: String, source_denied: String, time_budget: String, dry_run: bool, }
    MendShape { statuses: Vec<u16>, }
    DiscoveryShape {
        enabled: bool, on_head: bool, new_repositories: bool, sources: String,
        shared_sources: Vec<String>, widen_scopes: bool, scan_interval: String,
        search_repositories: u32, search_time: String, deleted_for: String,
        redis: RedisShape,
    }
    RedisShape {
        url: String, prefix: String, ca_certificate: String, timeout: String,
        fingerprint_key: String,
    }
    TokenEndpointShape { path: String, cache: TokenCacheShape, }
    TokenCacheShape { enabled: bool, ttl: String, }
    NotificationsShape { endpoints: Vec<EndpointShape>, }
    EndpointShape {
        name: String, url: String, headers: BTreeMap<String, Vec<String>>, timeout: String,
        threshold: u32, backoff: String, disabled: bool, ignoredmediatypes: Vec<String>,
        ignore: IgnoreShape,
    }
    IgnoreShape { mediatypes: Vec<String>, actions: Vec<String>, }
    ShutdownShape { drain_delay: String, timeout: String, }
    LogShape { level: String, format: String, }
}

impl FileShape {
    /// The settings of the whole file.
    pub(crate) fn all() -> Vec<(String, ScalarKind)> {
        let mut found = Vec::new();
        Self::settings("", &mut found);
        found
    }
}
