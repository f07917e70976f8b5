//! Checks the registry's object store, by lists of its objects alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::check::findings::Findings;
use crate::config::BucketConfig;
use crate::store::bucket::{Bucket, BucketError};
use crate::telemetry::metrics::Metrics;

/// How long the object store may take to respond.
const LIMIT: Duration = Duration::from_secs(5);

/// Says whether the bucket can be listed, and whether it holds a registry. Nothing is written and
/// no object is read, so what else the credentials permit is not known.
pub(crate) async fn check_bucket(config: &BucketConfig, findings: &mut Findings) {
    let metrics = match Metrics::new(None) {
        Ok(metrics) => Arc::new(metrics),
        Err(error) => return findings.error(error.to_string()),
    };
    let bucket = match Bucket::open(config, metrics) {
        Ok(bucket) => bucket,
        Err(error) => return findings.error(error.to_string()),
    };
    let place = format!("{} at {}", config.name(), config.server());
    match bucket.has_registry(Instant::now() + LIMIT).await {
        Ok(true) => findings.ok(format!(
            "the bucket {place} can be listed, and holds a registry below {}; crossmount needs {}, \
             and no other permission",
            bucket.base(),
            config.permission()
        )),
        Ok(false) => findings.warn(format!(
            "the bucket {place} can be listed, and holds no object below {}: bucket and rootdirectory \
             must be those of the registry",
            bucket.base()
        )),
        Err(error) => {
            let advice = advice(config, &error);
            findings.error(format!("the bucket {place}: {error}: {advice}"));
        }
    }
    if let BucketConfig::Azure(azure) = config
        && azure.accountkey.is_some()
        && matches!(&*azure.credentials.kind, "" | "shared_key")
    {
        findings.warn(
            "store.azure.accountkey permits everything in the account; crossmount only lists: with \
             credentials of type default_credentials or client_secret it can have a role that only reads",
        );
    }
}

/// What the operator can do.
fn advice(config: &BucketConfig, error: &BucketError) -> String {
    let section = config.section();
    match error {
        BucketError::Denied { code, .. } => match &**code {
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AuthenticationFailed" => {
                format!(
                    "the credentials are wrong: correct those in {section}, or in the environment"
                )
            }
            _ => format!("give the credentials {} on it", config.permission()),
        },
        BucketError::NoBucket(_) => format!("correct the name in {section}"),
        BucketError::Status {
            status: 301 | 307, ..
        } => {
            format!("is {section}.region the region of the bucket?")
        }
        BucketError::Status { code, .. } if code == "AuthorizationHeaderMalformed" => {
            format!("is {section}.region the region of the bucket?")
        }
        BucketError::Throttled { .. } | BucketError::Status { .. } => {
            "try again; serve would go on without the bucket until it answers".to_owned()
        }
        BucketError::Timeout | BucketError::Other(_) | BucketError::Key(_) => {
            "can this host reach it, and are there credentials?".to_owned()
        }
    }
}
