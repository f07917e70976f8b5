//! The kind of registry, and that no setting of another kind is set.

use http::StatusCode;

use super::{access, discovery, store};
use crate::config::leaf::Word;
use crate::config::tree::{Tree, invalid, only_with};
use crate::config::{
    AccessName, ConfigError, GenericConfig, MountConfig, MountWriter, PulpConfig, RegistryKind,
    RegistryWriterConfig,
};

/// Statuses of a refused mount that break pushes of containerd, oras and jib.
const STATUSES: &[u16] = &[400, 403, 404, 405];

/// `upstream.kind`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KindName {
    Distribution,
    Pulp,
    Generic,
}

impl Word for KindName {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("distribution", Self::Distribution),
        ("pulp", Self::Pulp),
        ("generic", Self::Generic),
    ];
}

pub(super) fn read(tree: &Tree, warnings: &mut Vec<String>) -> Result<RegistryKind, ConfigError> {
    let name = tree.setting("upstream.kind", KindName::parse_word)?;
    let name = name.unwrap_or(KindName::Distribution);
    let writer = tree.setting("mount.writer", MountWriter::parse_word)?;
    refuse_others_settings(tree, name, writer)?;
    let mount: MountConfig = tree.section("mount")?;
    Ok(match name {
        KindName::Distribution if writer == Some(MountWriter::Registry) => {
            let access = access::name(tree)?;
            RegistryKind::RegistryWriter(RegistryWriterConfig {
                access,
                bucket: store::bucket(tree, warnings)?,
                generic: generic(tree, mount, access == AccessName::None)?,
            })
        }
        KindName::Distribution => {
            RegistryKind::Distribution(store::distribution(tree, mount, warnings)?)
        }
        KindName::Pulp => RegistryKind::Pulp(PulpConfig {
            artifacts: store::artifacts(tree)?,
            discovery: discovery::read(tree, false)?,
            time_budget: mount.time_budget,
        }),
        KindName::Generic => RegistryKind::Generic(generic(tree, mount, false)?),
    })
}

fn generic(tree: &Tree, mount: MountConfig, is_open: bool) -> Result<GenericConfig, ConfigError> {
    Ok(GenericConfig {
        statuses: statuses(tree)?,
        source_denied: mount.source_denied,
        discovery: discovery::read(tree, is_open)?,
        time_budget: mount.time_budget,
    })
}

/// Refuses settings of another kind: they would have no effect, and the operator would rely on them.
fn refuse_others_settings(
    tree: &Tree,
    name: KindName,
    writer: Option<MountWriter>,
) -> Result<(), ConfigError> {
    let writes_links = name == KindName::Distribution
        && writer.unwrap_or(MountWriter::Store) == MountWriter::Store;
    refuse_settings_of_links(tree, name, writes_links)?;
    if tree.has("store.artifacts") && name != KindName::Pulp {
        return Err(only_with("store.artifacts", "upstream.kind: pulp"));
    }
    if tree.has("mend.statuses") && (name == KindName::Pulp || writes_links) {
        let condition = "upstream.kind: generic, or with mount.writer: registry";
        return Err(only_with("mend.statuses", condition));
    }
    if tree.has("mount.source_denied") && name == KindName::Pulp {
        let reason = "has no effect with upstream.kind: pulp: remove it";
        return Err(invalid("mount.source_denied", reason));
    }
    if writer == Some(MountWriter::Store) && name != KindName::Distribution {
        let reason = "must be registry: crossmount writes links only in distribution's store";
        return Err(invalid("mount.writer", reason));
    }
    Ok(())
}

/// Refuses settings that have an effect only if crossmount writes links.
fn refuse_settings_of_links(
    tree: &Tree,
    name: KindName,
    writes_links: bool,
) -> Result<(), ConfigError> {
    let is_distribution = name == KindName::Distribution;
    let says_more = tree.has("upstream.external_url")
        || tree.has("upstream.relative_urls")
        || tree.has_within("upstream.response_headers");
    let discovers = tree.is_true("discovery.enabled");
    let buckets = ["store.s3", "store.azure", "store.gcs"];
    let bucket = buckets.into_iter().find(|it| tree.has(it));
    if let Some(section) = bucket.filter(|_| !is_distribution) {
        return Err(only_with(section, "upstream.kind: distribution"));
    }
    let scans = writes_links || bucket.is_some();
    let of_distribution = [
        // Of the version depend defaults of its drivers.
        (
            "upstream.version",
            tree.has("upstream.version") && bucket.is_none(),
        ),
        (
            "upstream.external_url, relative_urls and response_headers",
            says_more,
        ),
        ("store.filesystem", tree.has("store.filesystem")),
        ("store.durability", tree.has("store.durability")),
        ("store.verify", tree.has("store.verify")),
        ("store.verify_rate", tree.has("store.verify_rate")),
        (
            "discovery.scan_interval",
            tree.has("discovery.scan_interval") && !scans,
        ),
        (
            "discovery.search_repositories",
            tree.has("discovery.search_repositories"),
        ),
        ("discovery.search_time", tree.has("discovery.search_time")),
        ("access", tree.has_within("access") && !is_distribution),
        ("access.token", tree.has_within("access.token")),
        ("access.htpasswd", tree.has_within("access.htpasswd")),
        ("access.decision_ttl", tree.has("access.decision_ttl")),
        ("mount.dry_run", tree.is_true("mount.dry_run")),
        (
            "notifications.endpoints",
            tree.has_within("notifications.endpoints"),
        ),
        (
            "mount.time_budget",
            tree.has("mount.time_budget") && !discovers,
        ),
    ];
    if writes_links {
        return Ok(());
    }
    let condition = if is_distribution {
        "mount.writer: store"
    } else {
        "upstream.kind: distribution"
    };
    let found = of_distribution.into_iter().find(|(_, is_set)| *is_set);
    found.map_or(Ok(()), |(setting, _)| Err(only_with(setting, condition)))
}

fn statuses(tree: &Tree) -> Result<Vec<StatusCode>, ConfigError> {
    let setting = "mend.statuses";
    let codes = tree.value::<Vec<u16>>(setting)?;
    let codes = codes.as_deref().unwrap_or(STATUSES).iter().copied();
    let statuses: Result<_, _> = codes.map(status).collect();
    statuses.map_err(|reason| invalid(setting, reason))
}

fn status(code: u16) -> Result<StatusCode, String> {
    let reason = match code {
        401 => "cannot be listed: mount.source_denied decides about it",
        429 => "cannot be listed: it tells clients to wait",
        400..=499 => {
            return StatusCode::from_u16(code).map_err(|_| format!("{code} is not an HTTP status"));
        }
        _ => "cannot be listed: only 400 to 499 can",
    };
    Err(format!("{code} {reason}"))
}
