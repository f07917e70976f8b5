//! `crossmount check`: whether `serve` would work here, and what the operator can do if not.
//!
//! | file | what |
//! |---|---|
//! | `findings` | the result, as lines for the operator |
//! | `registry` | checks the registry, and the files of access |
//! | `store` | checks the registry's directory, and its filesystem |
//! | `bucket` | checks the registry's object store |
//! | `redis` | checks the Redis or Valkey through which replicas share what they know |
//! | `registry_config` | compares the registry's own configuration with crossmount's |
//!
//! Nothing is left behind.

mod bucket;
pub(crate) mod findings;
mod redis;
mod registry;
pub(crate) mod registry_config;
mod store;

use std::path::Path;

pub use findings::Findings;

use crate::check::bucket::check_bucket;
use crate::check::redis::check_redis;
use crate::check::registry::{ExpectedRegistry, check_access, check_upstream};
use crate::check::store::{check_artifacts, check_store, check_verify};
use crate::config::{Config, RegistryKind, effective};
use crate::notifications;
use crate::server;

/// What happens to Locations if only the registry has TLS.
const PLAIN_BEFORE_TLS: &str = "clients speak HTTP to crossmount, and the registry speaks HTTPS: \
    crossmount sends it X-Forwarded-Proto: http, so clients get Locations with http. If a proxy \
    with TLS is in front, let it set X-Forwarded-Proto: https. Otherwise set listen.tls, or with \
    distribution upstream.external_url";

/// Checks the configuration alone, and compares the registry's own, if its file is given.
pub fn offline(config: &Config, registry_config: Option<&Path>) -> Findings {
    let mut findings = about(config, registry_config);
    in_effect(config, &mut findings);
    findings
}

/// Checks the certificate, the registry and the store too. Nothing is left behind.
pub async fn run(config: &Config, registry_config: Option<&Path>) -> Findings {
    let mut findings = about(config, registry_config);
    check_tls(config, &mut findings);
    match &config.kind {
        RegistryKind::Distribution(settings) => {
            check_access(&settings.access, &mut findings);
            let expected = ExpectedRegistry {
                mode: Some(settings.access.mode.name()),
                version: Some(settings.version),
            };
            check_upstream(&config.upstream, expected, &mut findings).await;
            check_store(&settings.store.root, &mut findings);
            check_verify(&settings.store, &mut findings);
            for endpoint in &settings.endpoints {
                if let Err(error) = notifications::check(endpoint) {
                    findings.error(error.to_string());
                }
            }
        }
        RegistryKind::Pulp(settings) => {
            check_upstream(&config.upstream, ExpectedRegistry::default(), &mut findings).await;
            if let Some(artifacts) = &settings.artifacts {
                check_artifacts(&artifacts.root, &mut findings);
            }
        }
        RegistryKind::RegistryWriter(settings) => {
            let mode = Some(settings.access);
            let expected = ExpectedRegistry {
                mode,
                ..ExpectedRegistry::default()
            };
            check_upstream(&config.upstream, expected, &mut findings).await;
            if let Some(bucket) = &settings.bucket {
                check_bucket(bucket, &mut findings).await;
            }
        }
        RegistryKind::Generic(_) => {
            check_upstream(&config.upstream, ExpectedRegistry::default(), &mut findings).await;
        }
    }
    if let Some(discovery) = config.kind.discovery()
        && let Some(redis) = &discovery.redis
    {
        let shares_uploads = !discovery.wait_for_uploads.is_zero();
        check_redis(redis, shares_uploads, &mut findings).await;
    }
    in_effect(config, &mut findings);
    findings
}

fn about(config: &Config, registry_config: Option<&Path>) -> Findings {
    let mut findings = Findings::default();
    let system = rustix::system::uname();
    findings.ok(format!(
        "crossmount {} on {} {} ({})",
        env!("CARGO_PKG_VERSION"),
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy(),
    ));
    findings.ok("the configuration is valid");
    for warning in &config.warnings {
        findings.warn(warning);
    }
    if config.is_plain_before_tls() {
        findings.warn(PLAIN_BEFORE_TLS);
    }
    if let Some(file) = registry_config {
        registry_config::compare(config, file, &mut findings);
    }
    findings
}

/// Prints the configuration in effect; last, because it is long.
fn in_effect(config: &Config, findings: &mut Findings) {
    findings.block("the configuration in effect", &effective(config));
}

fn check_tls(config: &Config, findings: &mut Findings) {
    match config.listen.tls.as_ref().map(server::tls::check) {
        None => {}
        Some(Ok(())) => findings.ok("the listener's certificate and key fit each other"),
        Some(Err(fault)) => findings.error(fault.to_string()),
    }
}
