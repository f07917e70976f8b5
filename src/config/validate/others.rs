//! In front of registries that mount themselves.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

use crate::config::ConfigError;
use crate::config::kind::{Artifacts, Generic, Pulp};
use crate::config::schema::{self, File};
use crate::config::validate::discovery;
use crate::config::validate::distribution::{source_denied, time_budget};
use crate::config::validate::single::{invalid, positive};
use crate::config::values::size;
use crate::oci::RepositoryName;

/// Answers to a mount that break pushes of containerd, oras and jib, and mean no more than no.
const STATUSES: &[u16] = &[400, 403, 404, 405];
/// Bytes of the largest blob that is relayed.
const LARGEST: u64 = 512 * 1024 * 1024;
/// How many blobs are relayed at once.
const AT_ONCE: u32 = 2;

pub(crate) fn pulp(file: &File) -> Result<Pulp, ConfigError> {
    let artifacts = file.store.artifacts.as_ref();
    Ok(Pulp {
        artifacts: artifacts.map(self::artifacts).transpose()?,
        discovery: discovery::validate(&file.discovery, None)?,
        time_budget: time_budget(&file.mount)?,
    })
}

pub(crate) fn generic(file: &File) -> Result<Generic, ConfigError> {
    let statuses = file.mend.statuses.as_deref().unwrap_or(STATUSES);
    Ok(Generic {
        statuses: statuses
            .iter()
            .copied()
            .map(status)
            .collect::<Result<_, _>>()?,
        source_denied: source_denied(&file.mount)?,
        discovery: discovery::validate(&file.discovery, None)?,
        time_budget: time_budget(&file.mount)?,
    })
}

fn status(code: u16) -> Result<StatusCode, ConfigError> {
    let wrong = |why: &str| invalid("mend.statuses", format!("{code} {why}"));
    match code {
        401 => Err(wrong(
            "follows mount.source_denied, and is never in the list",
        )),
        429 => Err(wrong("asks clients to wait: it is never replaced")),
        400..=499 => StatusCode::from_u16(code).map_err(|_| wrong("is no status")),
        _ => Err(wrong("is never replaced: only answers of 400 to 499 are")),
    }
}

fn artifacts(file: &schema::Artifacts) -> Result<Artifacts, ConfigError> {
    let setting = "store.artifacts.rootdirectory";
    let root = file.rootdirectory.as_deref().map(PathBuf::from);
    let root = root.ok_or_else(|| invalid(setting, "is missing: which is Pulp's MEDIA_ROOT?"))?;
    if !root.is_absolute() {
        return Err(invalid(setting, "must be an absolute path"));
    }
    let largest = file.max_size.as_deref().map(size).transpose();
    let concurrency = file.concurrency.unwrap_or(AT_ONCE);
    if concurrency == 0 {
        let reason = "must be at least 1: leave store.artifacts out to relay nothing";
        return Err(invalid("store.artifacts.concurrency", reason));
    }
    Ok(Artifacts {
        root,
        max_size: largest
            .map_err(|reason| invalid("store.artifacts.max_size", reason))?
            .unwrap_or(LARGEST),
        concurrency: usize::try_from(concurrency).unwrap_or(usize::MAX),
        deadline: positive(
            "store.artifacts.deadline",
            file.deadline.as_deref(),
            Duration::from_secs(10),
        )?,
        pull_through: file
            .pull_through
            .iter()
            .map(|path| pull_through(path))
            .collect::<Result<_, _>>()?,
    })
}

fn pull_through(path: &str) -> Result<RepositoryName, ConfigError> {
    RepositoryName::parse(path.trim_matches('/')).map_err(|error| {
        let reason = format!("{path:?} is no base path such as docker.io: {error}");
        invalid("store.artifacts.pull_through", reason)
    })
}
