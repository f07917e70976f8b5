//! Environment variables and flags laid over the file.

use serde_yaml::{Mapping, Value};

use crate::config::ConfigError;
use crate::config::schema::File;

const PREFIX: &str = "CROSSMOUNT_";

/// What the command line says about settings.
#[derive(Debug, Default, Clone)]
pub struct Overrides {
    /// `listen.address`
    pub listen: Option<String>,
    /// `admin.address`
    pub admin: Option<String>,
    /// `upstream.url`
    pub upstream: Option<String>,
    /// `store.filesystem.rootdirectory`
    pub root: Option<String>,
}

/// How a variable's text becomes a value of its setting.
#[derive(Clone, Copy)]
enum ScalarKind {
    Text,
    Flag,
    Number,
}

/// Every scalar setting. A test holds this list against the file's shape.
const SCALARS: &[(&str, ScalarKind)] = &[
    ("listen.address", ScalarKind::Text),
    ("listen.header_timeout", ScalarKind::Text),
    ("listen.http2", ScalarKind::Flag),
    ("listen.h2c", ScalarKind::Flag),
    ("listen.tls.certificate", ScalarKind::Text),
    ("listen.tls.key", ScalarKind::Text),
    ("admin.address", ScalarKind::Text),
    ("upstream.url", ScalarKind::Text),
    ("upstream.kind", ScalarKind::Text),
    ("upstream.version", ScalarKind::Number),
    ("upstream.ca_certificate", ScalarKind::Text),
    ("upstream.client_certificate", ScalarKind::Text),
    ("upstream.client_key", ScalarKind::Text),
    ("upstream.external_url", ScalarKind::Text),
    ("upstream.relative_urls", ScalarKind::Flag),
    ("upstream.prefix", ScalarKind::Text),
    ("upstream.timeouts.connect", ScalarKind::Text),
    ("upstream.timeouts.read", ScalarKind::Text),
    ("upstream.timeouts.write", ScalarKind::Text),
    ("upstream.timeouts.idle", ScalarKind::Text),
    ("store.filesystem.rootdirectory", ScalarKind::Text),
    ("store.artifacts.rootdirectory", ScalarKind::Text),
    ("store.artifacts.max_size", ScalarKind::Text),
    ("store.artifacts.concurrency", ScalarKind::Number),
    ("store.artifacts.deadline", ScalarKind::Text),
    ("store.durability", ScalarKind::Text),
    ("store.verify", ScalarKind::Text),
    ("store.verify_rate", ScalarKind::Text),
    ("access.mode", ScalarKind::Text),
    ("access.decision_ttl", ScalarKind::Text),
    ("access.token.issuer", ScalarKind::Text),
    ("access.token.service", ScalarKind::Text),
    ("access.token.rootcertbundle", ScalarKind::Text),
    ("access.token.jwks", ScalarKind::Text),
    ("access.htpasswd.path", ScalarKind::Text),
    ("mount.source_denied", ScalarKind::Text),
    ("mount.time_budget", ScalarKind::Text),
    ("mount.dry_run", ScalarKind::Flag),
    ("discovery.enabled", ScalarKind::Flag),
    ("discovery.on_head", ScalarKind::Flag),
    ("discovery.new_repositories", ScalarKind::Flag),
    ("discovery.sources", ScalarKind::Text),
    ("discovery.widen_scopes", ScalarKind::Flag),
    ("token_endpoint.path", ScalarKind::Text),
    ("token_endpoint.cache.enabled", ScalarKind::Flag),
    ("token_endpoint.cache.ttl", ScalarKind::Text),
    ("shutdown.drain_delay", ScalarKind::Text),
    ("shutdown.timeout", ScalarKind::Text),
    ("log.level", ScalarKind::Text),
    ("log.format", ScalarKind::Text),
];

/// Parses the file's text and lays environment and flags over it.
///
/// The text is parsed straight into the file's shape, because only then do errors name lines.
pub(crate) fn overlay(
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: Overrides,
    malformed: impl Fn(serde_yaml::Error) -> ConfigError + Copy,
) -> Result<(File, Vec<String>), ConfigError> {
    let file: Option<File> = serde_yaml::from_str(text).map_err(malformed)?;
    let mut tree = serde_yaml::to_value(file.unwrap_or_default()).map_err(malformed)?;
    let mut warnings = Vec::new();
    let mut variables: Vec<_> = environment
        .into_iter()
        // Charts set variables to nothing where a value is left out.
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .collect();
    variables.sort();
    for (name, text) in variables {
        match scalar_for(&name) {
            Some((path, kind)) => set(&mut tree, path, value_of(&name, kind, text)?),
            None => warnings.push(format!(
                "{name} is no setting of this version; it is ignored"
            )),
        }
    }
    for (path, value) in [
        ("listen.address", flags.listen),
        ("admin.address", flags.admin),
        ("upstream.url", flags.upstream),
        ("store.filesystem.rootdirectory", flags.root),
    ] {
        if let Some(text) = value {
            set(&mut tree, path, Value::String(text));
        }
    }
    let file = serde_yaml::from_value(tree).map_err(malformed)?;
    Ok((file, warnings))
}

fn scalar_for(variable: &str) -> Option<(&'static str, ScalarKind)> {
    SCALARS
        .iter()
        .find(|(path, _)| variable_for(path) == variable)
        .copied()
}

fn variable_for(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

fn value_of(variable: &str, kind: ScalarKind, text: String) -> Result<Value, ConfigError> {
    let wrong = |expected: &str| ConfigError::Environment {
        variable: variable.to_owned(),
        cause: format!("{text:?} is not {expected}"),
    };
    match kind {
        ScalarKind::Flag => match text.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(wrong("true or false")),
        },
        ScalarKind::Number => match text.parse::<u32>() {
            Ok(number) => Ok(Value::Number(number.into())),
            Err(_) => Err(wrong("a whole number")),
        },
        ScalarKind::Text => Ok(Value::String(text)),
    }
}

/// Sets the value at a dotted path, making the mappings on the way.
fn set(tree: &mut Value, path: &str, value: Value) {
    let mut place = tree;
    for part in path.split('.') {
        if !place.is_mapping() {
            *place = Value::Mapping(Mapping::new());
        }
        if let Value::Mapping(mapping) = place {
            place = mapping
                .entry(Value::String(part.to_owned()))
                .or_insert(Value::Null);
        } else {
            return;
        }
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Mapping(mapping) => {
                for (key, inner) in mapping {
                    let key = key.as_str().unwrap();
                    let path = if path.is_empty() {
                        key.to_owned()
                    } else {
                        format!("{path}.{key}")
                    };
                    leaves(inner, &path, found);
                }
            }
            Value::Sequence(_) => {}
            _ => found.push(path.to_owned()),
        }
    }

    #[test]
    fn every_scalar_setting_has_a_variable() {
        let mut file = File::default();
        file.listen.tls = Some(schema::Tls::default());
        file.store.filesystem = Some(schema::Filesystem::default());
        file.store.artifacts = Some(schema::Artifacts::default());
        file.access.token = Some(schema::Token::default());
        file.access.htpasswd = Some(schema::Htpasswd::default());
        let mut found = Vec::new();
        leaves(&serde_yaml::to_value(&file).unwrap(), "", &mut found);
        found.retain(|path| path != "upstream.response_headers" && path != "mend.statuses");
        let mut known: Vec<String> = SCALARS.iter().map(|(p, _)| (*p).to_owned()).collect();
        found.sort();
        known.sort();
        assert_eq!(found, known);
    }

    #[test]
    fn no_two_settings_share_a_variable() {
        let mut names: Vec<_> = SCALARS.iter().map(|(path, _)| variable_for(path)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), SCALARS.len());
    }
}
