//! In front of distribution: its store, and how mounts are answered.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::ConfigError;
use crate::config::kind::{Distribution, Durability, Mount, SourceDenied, Store, Verify};
use crate::config::schema::{self, File};
use crate::config::validate::single::{choice, invalid, positive};
use crate::config::validate::{access, discovery, notifications, upstream};
use crate::config::values::size;

/// Bytes a second that are hashed where nothing is said: an old disk has some left then.
const VERIFY_RATE: u64 = 64 * 1024 * 1024;

pub(crate) fn validate(
    file: &File,
    warnings: &mut Vec<String>,
) -> Result<Distribution, ConfigError> {
    let version = upstream::version(file.upstream.version)?;
    let access = access::validate(file.access.clone(), version, warnings)?;
    Ok(Distribution {
        version,
        mount: mount(&file.mount)?,
        discovery: discovery::validate(&file.discovery, Some(&access.mode))?,
        access,
        store: store(file.store.clone())?,
        endpoints: notifications::validate(&file.notifications)?,
    })
}

fn store(file: schema::Store) -> Result<Store, ConfigError> {
    let setting = "store.filesystem.rootdirectory";
    let verify = verify(file.verify.as_deref(), file.verify_rate.as_deref())?;
    let root = file
        .filesystem
        .and_then(|filesystem| filesystem.rootdirectory)
        .map(PathBuf::from)
        .ok_or_else(|| {
            invalid(
                setting,
                "is missing: which folder is the registry's rootdirectory?",
            )
        })?;
    if !root.is_absolute() {
        return Err(invalid(setting, "must be an absolute path"));
    }
    if root.ends_with("docker/registry/v2") {
        return Err(invalid(
            setting,
            "ends with docker/registry/v2, which the registry makes below its rootdirectory: leave that part out",
        ));
    }
    let durability = choice(
        "store.durability",
        file.durability.as_deref(),
        &[
            ("full", Durability::Full),
            ("file", Durability::File),
            ("none", Durability::None),
        ],
        Durability::Full,
    )?;
    Ok(Store {
        root,
        durability,
        verify,
    })
}

fn verify(verify: Option<&str>, rate: Option<&str>) -> Result<Option<Verify>, ConfigError> {
    let words = [("none", false), ("sha256", true)];
    let is_on = choice("store.verify", verify, &words, false)?;
    let setting = "store.verify_rate";
    if !is_on {
        return match rate {
            Some(_) => Err(invalid(setting, "is of use only with store.verify: sha256")),
            None => Ok(None),
        };
    }
    let rate = rate.map_or(Ok(VERIFY_RATE), size);
    let rate = rate.map_err(|reason| invalid(setting, reason))?;
    Ok(Some(Verify { rate }))
}

fn mount(file: &schema::Mount) -> Result<Mount, ConfigError> {
    Ok(Mount {
        source_denied: source_denied(file)?,
        time_budget: time_budget(file)?,
        dry_run: file.dry_run.unwrap_or(false),
    })
}

/// What a caller gets who may not pull the source.
pub(crate) fn source_denied(file: &schema::Mount) -> Result<SourceDenied, ConfigError> {
    choice(
        "mount.source_denied",
        file.source_denied.as_deref(),
        &[
            ("fallback", SourceDenied::Fallback),
            ("challenge", SourceDenied::Challenge),
        ],
        SourceDenied::Fallback,
    )
}

/// How long a mount may take before it is left to the registry.
pub(crate) fn time_budget(file: &schema::Mount) -> Result<Duration, ConfigError> {
    let text = file.time_budget.as_deref();
    positive("mount.time_budget", text, Duration::from_secs(2))
}
