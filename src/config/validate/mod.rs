//! From the file's shape to a configuration without contradictions.
//!
//! `upstream` has the section about the registry behind, `access` the one about who may,
//! `single` what all sections share.

mod access;
mod single;
mod upstream;

use std::path::PathBuf;
use std::time::Duration;

use single::{choice, invalid, positive, span};

use super::schema::{self, File};
use super::values::ListenAddress;
use super::{
    Config, ConfigError, Durability, Log, LogFormat, Mount, Shutdown, SourceDenied, Store, TlsFiles,
};

pub(super) fn validate(file: File, mut warnings: Vec<String>) -> Result<Config, ConfigError> {
    refuse_unsupported(&file)?;
    let mount = mount(&file.mount)?;
    let version = upstream::version(file.upstream.version)?;
    let access = access::validate(file.access, version, &mut warnings)?;
    Ok(Config {
        listen: address(
            "listen.address",
            file.listen.address.as_deref(),
            "0.0.0.0:5000",
        )?,
        tls: tls(file.listen.tls)?,
        admin: address(
            "admin.address",
            file.admin.address.as_deref(),
            "127.0.0.1:9500",
        )?,
        upstream: upstream::validate(file.upstream)?,
        store: store(file.store)?,
        access,
        mount,
        shutdown: shutdown(&file.shutdown)?,
        log: log(&file.log)?,
        warnings,
    })
}

/// Refuses what a later version will have, by its path, so that no file promises more than is done.
fn refuse_unsupported(file: &File) -> Result<(), ConfigError> {
    let discovery = &file.discovery;
    let upstream = &file.upstream;
    let is_other =
        |value: &Option<String>, known: &str| value.as_deref().is_some_and(|v| v == known);
    let later = [
        ("upstream.kind: pulp", is_other(&upstream.kind, "pulp")),
        (
            "upstream.kind: generic",
            is_other(&upstream.kind, "generic"),
        ),
        ("store.artifacts", file.store.artifacts.is_some()),
        (
            "store.verify: sha256",
            is_other(&file.store.verify, "sha256"),
        ),
        ("mend.statuses", !file.mend.statuses.is_empty()),
        ("discovery.enabled", discovery.enabled == Some(true)),
        ("discovery.on_head", discovery.on_head == Some(true)),
        ("discovery.sources", discovery.sources.is_some()),
        (
            "discovery.shared_sources",
            !discovery.shared_sources.is_empty(),
        ),
        (
            "discovery.widen_scopes",
            discovery.widen_scopes == Some(true),
        ),
        ("token_endpoint.path", file.token_endpoint.path.is_some()),
        (
            "token_endpoint.cache.enabled",
            file.token_endpoint.cache.enabled == Some(true),
        ),
        (
            "token_endpoint.cache.ttl",
            file.token_endpoint.cache.ttl.is_some(),
        ),
        (
            "notifications.endpoints",
            !file.notifications.endpoints.is_empty(),
        ),
    ];
    match later.into_iter().find(|(_, is_set)| *is_set) {
        Some((setting, _)) => Err(ConfigError::Unsupported { setting }),
        None => Ok(()),
    }
}

fn store(file: schema::Store) -> Result<Store, ConfigError> {
    let setting = "store.filesystem.rootdirectory";
    choice("store.verify", file.verify.as_deref(), &[("none", ())], ())?;
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
    Ok(Store { root, durability })
}

fn tls(file: Option<schema::Tls>) -> Result<Option<TlsFiles>, ConfigError> {
    match file {
        None => Ok(None),
        Some(schema::Tls {
            certificate: Some(certificate),
            key: Some(key),
        }) => Ok(Some(TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
        })),
        Some(_) => Err(invalid("listen.tls", "needs both certificate and key")),
    }
}

fn mount(file: &schema::Mount) -> Result<Mount, ConfigError> {
    Ok(Mount {
        source_denied: choice(
            "mount.source_denied",
            file.source_denied.as_deref(),
            &[
                ("fallback", SourceDenied::Fallback),
                ("challenge", SourceDenied::Challenge),
            ],
            SourceDenied::Fallback,
        )?,
        time_budget: positive(
            "mount.time_budget",
            file.time_budget.as_deref(),
            Duration::from_secs(2),
        )?,
        dry_run: file.dry_run.unwrap_or(false),
    })
}

fn shutdown(file: &schema::Shutdown) -> Result<Shutdown, ConfigError> {
    let drain_delay = span(
        "shutdown.drain_delay",
        file.drain_delay.as_deref(),
        Duration::from_secs(5),
    )?;
    let timeout = span(
        "shutdown.timeout",
        file.timeout.as_deref(),
        Duration::from_secs(25),
    )?;
    if timeout < drain_delay {
        return Err(invalid(
            "shutdown.timeout",
            "must not be shorter than shutdown.drain_delay, which it includes",
        ));
    }
    Ok(Shutdown {
        drain_delay,
        timeout,
    })
}

fn log(file: &schema::Log) -> Result<Log, ConfigError> {
    use tracing::Level;
    Ok(Log {
        level: choice(
            "log.level",
            file.level.as_deref(),
            &[
                ("error", Level::ERROR),
                ("warn", Level::WARN),
                ("info", Level::INFO),
                ("debug", Level::DEBUG),
                ("trace", Level::TRACE),
            ],
            Level::INFO,
        )?,
        format: choice(
            "log.format",
            file.format.as_deref(),
            &[("json", LogFormat::Json), ("text", LogFormat::Text)],
            LogFormat::Json,
        )?,
    })
}

fn address(
    setting: &'static str,
    text: Option<&str>,
    default: &str,
) -> Result<ListenAddress, ConfigError> {
    ListenAddress::parse(text.unwrap_or(default)).map_err(|reason| invalid(setting, reason))
}
