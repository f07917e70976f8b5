//! Makes a client of the configuration. Nothing is sent yet.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::PaginatedListStore;
use object_store::{ClientOptions, RetryConfig};

use crate::config::{AzureConfig, BucketConfig, GcsConfig, S3Config, on_one_line};
use crate::store::bucket::connector::Connector;
use crate::store::bucket::{Bucket, PAGE_LIMIT};
use crate::telemetry::metrics::Metrics;
use crate::upstream::USER_AGENT;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The region that is signed for a server that has none.
const NO_REGION: &str = "us-east-1";

/// Where the library finds credentials if the configuration has none: a role of a service account
/// (web identity), ECS, EKS, and else the instance.
const AWS_VARIABLES: &[AmazonS3ConfigKey] = &[
    AmazonS3ConfigKey::AccessKeyId,
    AmazonS3ConfigKey::SecretAccessKey,
    AmazonS3ConfigKey::Token,
    AmazonS3ConfigKey::WebIdentityTokenFile,
    AmazonS3ConfigKey::RoleArn,
    AmazonS3ConfigKey::RoleSessionName,
    AmazonS3ConfigKey::StsEndpoint,
    AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    AmazonS3ConfigKey::ContainerCredentialsFullUri,
    AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    AmazonS3ConfigKey::MetadataEndpoint,
];

/// The same for Azure: an application, workload identity, and else the managed identity.
const AZURE_VARIABLES: &[AzureConfigKey] = &[
    AzureConfigKey::ClientId,
    AzureConfigKey::ClientSecret,
    AzureConfigKey::AuthorityId,
    AzureConfigKey::AuthorityHost,
    AzureConfigKey::FederatedTokenFile,
    AzureConfigKey::MsiEndpoint,
];

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("{section}: {reason}")]
pub struct BucketOpenError {
    section: &'static str,
    reason: String,
}

impl Bucket {
    /// Makes a client; fails if the credentials cannot be used.
    pub(crate) fn open(
        config: &BucketConfig,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BucketOpenError> {
        let client = match config {
            BucketConfig::S3(it) => s3(it),
            BucketConfig::Azure(it) => azure(it),
            BucketConfig::Gcs(it) => gcs(it),
        };
        let client = client.map_err(|error| BucketOpenError {
            section: config.section(),
            reason: on_one_line(&error.to_string()),
        })?;
        Ok(Self::new(client, &config.root(), metrics))
    }
}

type Opened = object_store::Result<Arc<dyn PaginatedListStore>>;

fn s3(config: &S3Config) -> Opened {
    let server = config.server();
    let region = match &*config.region {
        "" => NO_REGION,
        region => region,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(region)
        .with_virtual_hosted_style_request(!config.forcepathstyle)
        .with_endpoint(endpoint(&server, config))
        .with_retry(no_retry())
        .with_http_connector(Connector);
    let keys = config.accesskey.as_ref().zip(config.secretkey.as_ref());
    if let Some((access, secret)) = keys {
        builder = builder
            .with_access_key_id(access.expose())
            .with_secret_access_key(secret.expose());
    } else {
        for key in AWS_VARIABLES {
            if let Some(value) = variable(key.as_ref()) {
                builder = builder.with_config(*key, value);
            }
        }
    }
    let has_key = keys.is_some() || variable(AmazonS3ConfigKey::AccessKeyId.as_ref()).is_some();
    let options = options(&server, config.skipverify, has_key);
    Ok(Arc::new(builder.with_client_options(options).build()?))
}

/// The library wants the bucket in the host, if it is to be there.
fn endpoint(server: &str, config: &S3Config) -> String {
    match server.split_once("://") {
        Some((scheme, host)) if !config.forcepathstyle => {
            format!("{scheme}://{}.{host}", config.bucket)
        }
        _ => server.to_owned(),
    }
}

fn azure(config: &AzureConfig) -> Opened {
    let server = config.server();
    let credentials = &config.credentials;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(&config.accountname)
        .with_container_name(&config.container)
        .with_endpoint(server.clone())
        .with_retry(no_retry())
        .with_http_connector(Connector);
    let mut has_key = false;
    match (&*credentials.kind, &credentials.secret, &config.accountkey) {
        ("client_secret", Some(secret), _) => {
            builder = builder.with_client_secret_authorization(
                &credentials.clientid,
                secret.expose(),
                &credentials.tenantid,
            );
        }
        ("" | "shared_key", _, Some(key)) => {
            has_key = true;
            builder = builder.with_access_key(key.expose());
        }
        _ => {
            for key in AZURE_VARIABLES {
                if let Some(value) = variable(key.as_ref()) {
                    builder = builder.with_config(*key, value);
                }
            }
        }
    }
    let options = options(&server, config.skipverify, has_key);
    Ok(Arc::new(builder.with_client_options(options).build()?))
}

fn gcs(config: &GcsConfig) -> Opened {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&config.bucket)
        .with_retry(no_retry())
        .with_http_connector(Connector)
        .with_client_options(options("https://", false, false));
    if let Some(file) = &config.keyfile {
        builder = builder.with_service_account_path(file.to_string_lossy());
    } else if !config.credentials.is_empty() {
        let exposed = config
            .credentials
            .iter()
            .map(|(name, value)| (name, value.expose()));
        let key: serde_json::Map<_, _> = exposed
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        builder = builder.with_service_account_key(serde_json::Value::Object(key).to_string());
    } else if let Ok(file) = std::env::var("GOOGLE_APPLICATION_CREDENTIALS") {
        builder = builder.with_application_credentials(file);
    }
    Ok(Arc::new(builder.build()?))
}

fn variable(key: &str) -> Option<String> {
    let value = std::env::var(key.to_uppercase()).ok();
    value.filter(|value| !value.is_empty())
}

/// When to try again is decided by the part that lists.
fn no_retry() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        retry_timeout: PAGE_LIMIT,
        ..RetryConfig::default()
    }
}

/// `has_key`: no other server is asked for credentials.
fn options(server: &str, takes_any_certificate: bool, has_key: bool) -> ClientOptions {
    // An image of the binary alone has no root certificates, and needs none without TLS.
    let needs_no_roots = server.starts_with("http://") && has_key;
    ClientOptions::new()
        .with_user_agent(HeaderValue::from_static(USER_AGENT))
        .with_allow_http(true)
        .with_http1_only()
        .with_allow_invalid_certificates(takes_any_certificate)
        .with_no_system_certificates(needs_no_roots)
        .with_connect_timeout(CONNECT_LIMIT)
        .with_timeout(PAGE_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_in_the_host_unless_it_is_to_be_in_the_path() {
        for (style, url) in [
            ("false", "https://b.s3.r.amazonaws.com"),
            ("true", "https://s3.r.amazonaws.com"),
        ] {
            let settings = [("bucket", "b"), ("region", "r"), ("forcepathstyle", style)];
            let settings = settings.map(|(name, value)| (name.into(), value.into()));
            let config = BucketConfig::of_registry("s3", settings.into_iter().collect(), None);
            let Ok(BucketConfig::S3(s3)) = config else {
                panic!("{config:?}")
            };
            assert_eq!(endpoint(&s3.server(), &s3), url);
        }
    }
}
