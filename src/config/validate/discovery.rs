//! From where else layers are mounted.

use crate::config::kind::{AccessMode, Discovery, Sources};
use crate::config::validate::single::{choice, invalid};
use crate::config::{ConfigError, schema};
use crate::oci::Patterns;

/// `mode` is who decides about access; `None` where the registry itself does.
pub(crate) fn validate(
    file: &schema::Discovery,
    mode: Option<&AccessMode>,
) -> Result<Option<Discovery>, ConfigError> {
    let sources = choice(
        "discovery.sources",
        file.sources.as_deref(),
        &[
            ("shared", Sources::Shared),
            ("namespace", Sources::Namespace),
            ("any", Sources::Any),
        ],
        Sources::Shared,
    )?;
    let shared = Patterns::parse(file.shared_sources.iter().map(String::as_str))
        .map_err(|error| invalid("discovery.shared_sources", error.to_string()))?;
    let on_head = file.on_head == Some(true);
    let new_repositories = file.new_repositories != Some(false);
    if file.enabled != Some(true) {
        let useless = [
            ("discovery.on_head", on_head),
            ("discovery.new_repositories", !new_repositories),
            ("discovery.widen_scopes", file.widen_scopes == Some(true)),
        ];
        return match useless.into_iter().find(|(_, is_set)| *is_set) {
            Some((setting, _)) => {
                let reason = "is of use only with discovery.enabled: true";
                Err(invalid(setting, reason))
            }
            None => Ok(None),
        };
    }
    if matches!(mode, Some(AccessMode::None)) && sources != Sources::Any {
        let reason = "must be any where access.mode is none: say outright that everybody may pull everything";
        return Err(invalid("discovery.sources", reason));
    }
    if sources == Sources::Shared && shared.is_empty() {
        let reason = "is empty, so nothing could be discovered: name repositories that every \
                      authenticated caller may pull, such as base/**, or widen discovery.sources";
        return Err(invalid("discovery.shared_sources", reason));
    }
    Ok(Some(Discovery {
        on_head,
        new_repositories,
        sources,
        shared,
    }))
}
