//! The object store in which the registry keeps its data, by the names of distribution's drivers.
//!
//! What only writers need is accepted and ignored, so that an operator can copy the registry's
//! own block ([`BucketConfig::IGNORED`]).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Secret;
use crate::config::leaf::flag;

/// The registry's object store, which crossmount lists and never writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum BucketConfig {
    /// Amazon S3, or a server with the same interface.
    S3(S3Config),
    /// Azure's blob storage.
    Azure(AzureConfig),
    /// Google's cloud storage.
    Gcs(GcsConfig),
}

/// `store.s3` (`registry/storage/driver/s3-aws/s3.go`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "these are the driver's own settings"
)]
pub struct S3Config {
    /// The name of the bucket.
    pub bucket: String,
    /// Amazon's region; other servers may have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Another server than Amazon's: a URL, or a host with or without a port.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub regionendpoint: String,
    /// Whether the bucket is in the path of a URL, and not in its host.
    #[serde(default, with = "flag")]
    pub forcepathstyle: bool,
    /// The directory in the bucket below which the registry keeps its data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rootdirectory: String,
    /// Whether an endpoint without a scheme is https.
    #[serde(default = "yes", with = "flag")]
    pub secure: bool,
    /// Whether any certificate of the server is taken.
    #[serde(default, with = "flag")]
    pub skipverify: bool,
    /// With `secretkey`: in place of credentials from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accesskey: Option<Secret<String>>,
    /// The secret of `accesskey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secretkey: Option<Secret<String>>,
    /// Whether requests are signed with version 4, which is the only one here.
    #[serde(default = "yes", with = "flag", skip_serializing)]
    pub v4auth: bool,
    /// Whether Amazon is reached over IPv6 too.
    #[serde(default, with = "flag")]
    pub usedualstack: bool,
    /// Whether Amazon's endpoints for FIPS 140 are used.
    #[serde(default, with = "flag")]
    pub usefipsendpoint: bool,
}

/// `store.azure` (`registry/storage/driver/azure/parser.go`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct AzureConfig {
    /// The storage account.
    pub accountname: String,
    /// Its key, if access is by the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accountkey: Option<Secret<String>>,
    /// The container with the registry's data.
    pub container: String,
    /// The domain below which the account's host is.
    #[serde(default = "azures_realm")]
    pub realm: String,
    /// The URL of the account, in place of one made from account and realm.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub serviceurl: String,
    /// The directory in the container below which the registry keeps its data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rootdirectory: String,
    /// Whether any certificate of the server is taken.
    #[serde(default, with = "flag")]
    pub skipverify: bool,
    /// How the account is accessed.
    #[serde(default, skip_serializing_if = "AzureCredentials::is_empty")]
    pub credentials: AzureCredentials,
    /// Whether names begin with a slash, as those that distribution 2 writes.
    #[serde(skip)]
    pub has_leading_slash: bool,
}

/// `store.azure.credentials`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct AzureCredentials {
    /// `shared_key`, `client_secret` or `default_credentials`; empty if `accountkey` says it.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The application that signs in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub clientid: String,
    /// The directory in which the application is registered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tenantid: String,
    /// The application's secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret<String>>,
}

/// `store.gcs` (`registry/storage/driver/gcs/gcs.go`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct GcsConfig {
    /// The name of the bucket.
    pub bucket: String,
    /// The file with the key of a service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyfile: Option<PathBuf>,
    /// The content of such a file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub credentials: BTreeMap<String, Secret<String>>,
    /// The directory in the bucket below which the registry keeps its data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rootdirectory: String,
}

fn yes() -> bool {
    true
}

fn azures_realm() -> String {
    "core.windows.net".to_owned()
}

impl BucketConfig {
    /// Settings of the drivers that have no effect on a list of objects.
    pub(in crate::config) const IGNORED: &'static [(&'static str, &'static [&'static str])] = &[
        (
            "store.s3",
            &[
                "encrypt",
                "keyid",
                "chunksize",
                "multipartcopychunksize",
                "multipartcopymaxconcurrency",
                "multipartcopythresholdsize",
                "storageclass",
                "objectacl",
                "useragent",
                "accelerate",
                "loglevel",
                "redirectendpoint",
            ],
        ),
        (
            "store.azure",
            &["max_retries", "retry_delay", "connectionstring"],
        ),
        ("store.gcs", &["chunksize", "maxconcurrency", "useragent"]),
    ];

    /// The server, as a URL.
    pub fn server(&self) -> String {
        match self {
            Self::S3(it) => it.server(),
            Self::Azure(it) => it.server(),
            Self::Gcs(_) => "https://storage.googleapis.com".to_owned(),
        }
    }

    /// The permission that a list of objects needs, as its provider calls it.
    pub fn permission(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3:ListBucket",
            Self::Azure(_) => "the role Storage Blob Data Reader",
            Self::Gcs(_) => "storage.objects.list",
        }
    }

    /// The path of its section in the configuration.
    pub fn section(&self) -> &'static str {
        match self {
            Self::S3(_) => "store.s3",
            Self::Azure(_) => "store.azure",
            Self::Gcs(_) => "store.gcs",
        }
    }

    /// The bucket or container.
    pub fn name(&self) -> &str {
        match self {
            Self::S3(it) => &it.bucket,
            Self::Azure(it) => &it.container,
            Self::Gcs(it) => &it.bucket,
        }
    }

    /// The beginning of every key: nothing, or the root directory with a slash behind it.
    pub fn root(&self) -> String {
        match self {
            // `s3Path` cuts slashes off its end, and those before the whole path.
            Self::S3(it) => with_slash(&it.rootdirectory),
            Self::Azure(it) if it.has_leading_slash => "/".to_owned(),
            Self::Azure(it) => with_slash(&it.rootdirectory),
            Self::Gcs(it) => with_slash(&it.rootdirectory),
        }
    }
}

fn with_slash(root: &str) -> String {
    match root.trim_matches('/') {
        "" => String::new(),
        root => format!("{root}/"),
    }
}

impl S3Config {
    /// Scheme and host of the server, without a slash at its end.
    pub fn server(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let endpoint = self.regionendpoint.trim_end_matches('/');
        if endpoint.contains("://") {
            return endpoint.to_owned();
        }
        if !endpoint.is_empty() {
            return format!("{scheme}://{endpoint}");
        }
        let fips = if self.usefipsendpoint { "-fips" } else { "" };
        let dual = if self.usedualstack { ".dualstack" } else { "" };
        let domain = if self.region.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        format!("{scheme}://s3{fips}{dual}.{}.{domain}", self.region)
    }
}

impl AzureCredentials {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AzureConfig {
    /// The URL of the account.
    pub fn server(&self) -> String {
        match self.serviceurl.trim_end_matches('/') {
            "" => format!("https://{}.blob.{}", self.accountname, self.realm),
            url => url.to_owned(),
        }
    }
}
