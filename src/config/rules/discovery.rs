//! From which other repositories layers are mounted.

use crate::config::tree::{Tree, invalid, only_with};
use crate::config::{ConfigError, DiscoveryConfig, RedisConfig, Sources};

/// `is_open`: the registry has no access control.
pub(super) fn read(tree: &Tree, is_open: bool) -> Result<Option<DiscoveryConfig>, ConfigError> {
    if tree.has("discovery.redis") {
        redis(tree)?;
    }
    let discovery: DiscoveryConfig = tree.section("discovery")?;
    if !tree.is_true("discovery.enabled") {
        let useless = [
            ("discovery.on_head", discovery.on_head),
            ("discovery.new_repositories", !discovery.new_repositories),
            ("discovery.redis", discovery.redis.is_some()),
            (
                "discovery.widen_scopes",
                tree.is_true("discovery.widen_scopes"),
            ),
            (
                "discovery.scan_interval",
                discovery.scan_interval != DiscoveryConfig::default().scan_interval,
            ),
            (
                "discovery.search_repositories",
                discovery.search_repositories != DiscoveryConfig::default().search_repositories,
            ),
            (
                "discovery.search_time",
                discovery.search_time != DiscoveryConfig::default().search_time,
            ),
            (
                "discovery.deleted_for",
                discovery.deleted_for != DiscoveryConfig::default().deleted_for,
            ),
        ];
        return match useless.into_iter().find(|(_, is_set)| *is_set) {
            Some((setting, _)) => Err(only_with(setting, "discovery.enabled: true")),
            None => Ok(None),
        };
    }
    if is_open && discovery.sources != Sources::Any {
        let reason =
            "must be any with access.mode: none, because every client may pull every repository";
        return Err(invalid("discovery.sources", reason));
    }
    if discovery.sources == Sources::Shared && discovery.shared.is_empty() {
        let reason = "is empty, so discovery would find nothing: name repositories that every \
                      authenticated caller may pull, such as base/**, or set discovery.sources to \
                      namespace or any";
        return Err(invalid("discovery.shared_sources", reason));
    }
    Ok(Some(discovery))
}

/// What cannot be said by the type of a single setting.
fn redis(tree: &Tree) -> Result<(), ConfigError> {
    let question = "is missing: set it to the address of a Redis or Valkey, such as \
                    redis://127.0.0.1:6379";
    tree.text("discovery.redis.url", question)?;
    let redis: RedisConfig = tree.section("discovery.redis")?;
    let setting = "discovery.redis.ca_certificate";
    match &redis.ca_certificate {
        Some(_) if !redis.url.is_tls => {
            Err(only_with(setting, "a rediss:// URL in discovery.redis.url"))
        }
        Some(path) if path.as_os_str().is_empty() => {
            Err(invalid(setting, "is empty: name a file, or remove it"))
        }
        Some(_) | None => Ok(()),
    }
}
