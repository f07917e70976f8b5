//! The registry's own token endpoint.

use std::time::Duration;

use crate::config::kind::Kind;
use crate::config::validate::single::{invalid, positive};
use crate::config::{ConfigError, TokenEndpoint, schema};

/// Pulp's own.
const PULPS: &str = "/token/";
/// A token is handed out again for seconds: a right that is taken away lives on for as long.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) fn validate(
    file: schema::TokenEndpoint,
    discovery: &schema::Discovery,
    kind: &Kind,
) -> Result<Option<TokenEndpoint>, ConfigError> {
    let setting = "token_endpoint.cache.ttl";
    let ttl = positive(setting, file.cache.ttl.as_deref(), Duration::from_secs(30))?;
    if ttl > LONGEST {
        let reason =
            "must not be longer than a minute: a right that is taken away lives on for as long";
        return Err(invalid(setting, reason));
    }
    let endpoint = TokenEndpoint {
        path: path(file.path, kind)?,
        remembered_for: (file.cache.enabled == Some(true)).then_some(ttl),
        widens_scopes: discovery.widen_scopes == Some(true),
    };
    let is_used = endpoint.remembered_for.is_some() || endpoint.widens_scopes;
    if is_used && endpoint.path.is_empty() {
        let reason = "is missing: at which path does the registry hand out tokens?";
        return Err(invalid("token_endpoint.path", reason));
    }
    Ok(is_used.then_some(endpoint))
}

/// Empty where nobody says one.
fn path(text: Option<String>, kind: &Kind) -> Result<String, ConfigError> {
    let Some(text) = text else {
        let is_pulp = matches!(kind, Kind::Pulp(_));
        return Ok(if is_pulp { PULPS } else { "" }.to_owned());
    };
    let is_plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
    if !text.starts_with('/')
        || !text.bytes().all(is_plain)
        || text.contains("//")
        || text.contains("/.")
    {
        let reason =
            format!("{text:?} must be a plain path such as /token/, without host or query");
        return Err(invalid("token_endpoint.path", reason));
    }
    Ok(text)
}
