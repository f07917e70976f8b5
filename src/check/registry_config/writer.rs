//! Compares the registry's own configuration with crossmount's if the registry writes the links.

use std::collections::BTreeMap;

use crate::check::findings::Findings;
use crate::check::registry_config::file::RegistryConfig;
use crate::check::registry_config::{ours, takes_writes};
use crate::config::{
    AccessName, BucketConfig, DistributionVersion, RegistryWriterConfig, S3Config,
};

pub(super) fn differences(
    theirs: &RegistryConfig,
    settings: &RegistryWriterConfig,
    findings: &mut Findings,
) {
    store(theirs, settings.bucket.as_ref(), findings);
    takes_writes(theirs, findings);
    let kinds = theirs.names(&["auth"]);
    let kind = kinds.first().map_or("none", String::as_str);
    let own = settings.access.text();
    if settings.access != AccessName::Upstream && own != kind {
        findings.error(format!(
            "access.mode is {own}, but the registry's auth is {kind}"
        ));
    }
}

fn store(theirs: &RegistryConfig, own: Option<&BucketConfig>, findings: &mut Findings) {
    let driver = theirs.driver();
    // Which version the registry has is not known; the bucket is the same for each.
    let version = match own {
        Some(BucketConfig::Azure(azure)) if !azure.has_leading_slash => DistributionVersion::Three,
        _ => DistributionVersion::Two,
    };
    let registrys = match theirs.bucket(std::iter::empty(), Some(version)) {
        Some(Ok(bucket)) => bucket,
        Some(Err(error)) => return findings.error(would_not_start(&driver, &error.to_string())),
        None => {
            if let Some(own) = own {
                findings.error(format!(
                    "the registry stores in {driver}, but here is {}",
                    own.section()
                ));
            }
            return;
        }
    };
    let Some(own) = own else {
        findings.warn(format!(
            "the registry stores in {driver}, which crossmount can list with this section: then it \
             knows all layers from its start, and looks there whether a layer exists; the credentials \
             need {}, and no other permission",
            registrys.permission()
        ));
        return findings.block("the section for crossmount", &section(&registrys));
    };
    if own.section() != registrys.section() {
        return findings.error(format!(
            "the registry stores in {driver}, but here is {}",
            own.section()
        ));
    }
    for (name, theirs, ours_) in [
        ("bucket", registrys.name().to_owned(), own.name().to_owned()),
        ("server", registrys.server(), own.server()),
        ("rootdirectory", registrys.root(), own.root()),
    ] {
        if theirs != ours_ {
            let setting = format!("its {name} in {}", own.section());
            findings.error(ours(
                &format!("the {name} of storage.{driver}"),
                &theirs,
                &setting,
                &ours_,
            ));
        }
    }
    if let (BucketConfig::S3(registrys), BucketConfig::S3(own)) = (&registrys, own)
        && has_same_key(registrys, own)
    {
        findings.warn(
            "store.s3 has the registry's own keys, which may write: crossmount needs s3:ListBucket alone",
        );
    }
}

fn has_same_key(one: &S3Config, other: &S3Config) -> bool {
    one.accesskey.is_some() && one.accesskey == other.accesskey
}

fn would_not_start(driver: &str, error: &str) -> String {
    format!("the registry stores in {driver}, and would not start: {error}")
}

/// Says what to write for a registry whose storage is an object store.
pub(super) fn advise(
    theirs: &RegistryConfig,
    driver: &str,
    version: DistributionVersion,
    findings: &mut Findings,
) {
    let nothing = std::iter::empty();
    match theirs.bucket(nothing, Some(version)) {
        Some(Ok(bucket)) => {
            findings.error(format!(
                "the registry stores in {driver}, where crossmount writes no link: set mount.writer to \
                 registry, and in place of store.filesystem this section; its credentials need {}, \
                 and no other permission",
                bucket.permission()
            ));
            findings.block("the section for crossmount", &section(&bucket));
        }
        Some(Err(error)) => findings.error(would_not_start(driver, &error.to_string())),
        None => findings.error(format!(
            "the registry stores in {driver}, where crossmount writes no link and which it cannot list: \
             set mount.writer to registry, and leave store.filesystem out"
        )),
    }
}

/// The section as a file has it, with its secrets masked.
fn section(bucket: &BucketConfig) -> String {
    let section = bucket.section().trim_start_matches("store.");
    let tree = BTreeMap::from([("store", BTreeMap::from([(section, bucket)]))]);
    serde_yaml::to_string(&tree).unwrap_or_else(|error| format!("# cannot be shown: {error}"))
}
