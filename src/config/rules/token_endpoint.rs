//! The registry's own token endpoint.

use std::time::Duration;

use crate::config::leaf::{is_plain_path, parse_positive_span};
use crate::config::tree::{Tree, invalid};
use crate::config::{ConfigError, RegistryKind, TokenEndpointConfig};

/// Pulp's own.
const PULPS: &str = "/token/";
/// Tokens are cached for seconds: a revoked permission stays in effect for as long.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) fn read(
    tree: &Tree,
    kind: &RegistryKind,
) -> Result<Option<TokenEndpointConfig>, ConfigError> {
    let ttl = tree.setting(
        "token_endpoint.cache.ttl",
        |text| match parse_positive_span(text)? {
            ttl if ttl > LONGEST => Err(
                "must not be longer than 1m: a revoked permission stays in effect for as long"
                    .to_owned(),
            ),
            ttl => Ok(ttl),
        },
    )?;
    let is_cached = tree.is_true("token_endpoint.cache.enabled");
    let is_pulp = matches!(kind, RegistryKind::Pulp(_));
    let path = tree.setting("token_endpoint.path", path)?;
    let path = path.or_else(|| is_pulp.then(|| PULPS.to_owned()));
    let widens_scopes = tree.is_true("discovery.widen_scopes");
    if !is_cached && !widens_scopes {
        return Ok(None);
    }
    let question = "is missing: set it to the path at which the registry issues tokens";
    Ok(Some(TokenEndpointConfig {
        path: path.ok_or_else(|| invalid("token_endpoint.path", question))?,
        remembered_for: is_cached.then(|| ttl.unwrap_or(Duration::from_secs(30))),
        widens_scopes,
    }))
}

fn path(text: &str) -> Result<String, String> {
    is_plain_path(text).then(|| text.to_owned()).ok_or_else(|| {
        format!("{text:?} must be a plain path such as /token/, without host or query")
    })
}
