//! Every name that users may write, and what of YAML may stand there.
//!
//! The file is read by its shape before its values are looked at, for two reasons: only the parser
//! can name the line of a key that is unknown, and only here a text such as `1.10` is still as it
//! was written. A value may be wrong and never be used, because a variable replaces it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What may stand at a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScalarKind {
    Text,
    Flag,
    Number,
    /// No scalar, so that no variable can set it.
    List,
}

/// What may stand in a place of the file.
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
                $(<$shape>::settings(&format!("{path}{dot}{}", stringify!($name)), found);)*
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
        verify: String, verify_rate: String,
    }
    FilesystemShape { rootdirectory: String, }
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
        shared_sources: Vec<String>, widen_scopes: bool,
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
