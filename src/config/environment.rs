//! Environment variables and flags laid over the file.

use serde_yaml::{Mapping, Value};

use super::ConfigError;
use super::schema::File;

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
enum Kind {
    Text,
    Flag,
    Number,
}

/// Every scalar setting. A test holds this list against the file's shape.
const SCALARS: &[(&str, Kind)] = &[
    ("listen.address", Kind::Text),
    ("listen.header_timeout", Kind::Text),
    ("listen.http2", Kind::Flag),
    ("listen.h2c", Kind::Flag),
    ("listen.tls.certificate", Kind::Text),
    ("listen.tls.key", Kind::Text),
    ("admin.address", Kind::Text),
    ("upstream.url", Kind::Text),
    ("upstream.kind", Kind::Text),
    ("upstream.version", Kind::Number),
    ("upstream.ca_certificate", Kind::Text),
    ("upstream.client_certificate", Kind::Text),
    ("upstream.client_key", Kind::Text),
    ("upstream.external_url", Kind::Text),
    ("upstream.relative_urls", Kind::Flag),
    ("upstream.prefix", Kind::Text),
    ("upstream.timeouts.connect", Kind::Text),
    ("upstream.timeouts.read", Kind::Text),
    ("upstream.timeouts.write", Kind::Text),
    ("upstream.timeouts.idle", Kind::Text),
    ("store.filesystem.rootdirectory", Kind::Text),
    ("store.artifacts.rootdirectory", Kind::Text),
    ("store.artifacts.max_size", Kind::Text),
    ("store.artifacts.concurrency", Kind::Number),
    ("store.artifacts.deadline", Kind::Text),
    ("store.durability", Kind::Text),
    ("store.verify", Kind::Text),
    ("store.verify_rate", Kind::Text),
    ("access.mode", Kind::Text),
    ("access.decision_ttl", Kind::Text),
    ("access.token.issuer", Kind::Text),
    ("access.token.service", Kind::Text),
    ("access.token.rootcertbundle", Kind::Text),
    ("access.token.jwks", Kind::Text),
    ("access.htpasswd.path", Kind::Text),
    ("mount.source_denied", Kind::Text),
    ("mount.time_budget", Kind::Text),
    ("mount.dry_run", Kind::Flag),
    ("discovery.enabled", Kind::Flag),
    ("discovery.on_head", Kind::Flag),
    ("discovery.new_repositories", Kind::Flag),
    ("discovery.sources", Kind::Text),
    ("discovery.widen_scopes", Kind::Flag),
    ("token_endpoint.path", Kind::Text),
    ("token_endpoint.cache.enabled", Kind::Flag),
    ("token_endpoint.cache.ttl", Kind::Text),
    ("shutdown.drain_delay", Kind::Text),
    ("shutdown.timeout", Kind::Text),
    ("log.level", Kind::Text),
    ("log.format", Kind::Text),
];

/// Parses the file's text and lays environment and flags over it.
///
/// The text is parsed straight into the file's shape, because only then do errors name lines.
pub(super) fn overlay(
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

fn scalar_for(variable: &str) -> Option<(&'static str, Kind)> {
    SCALARS
        .iter()
        .find(|(path, _)| variable_for(path) == variable)
        .copied()
}

fn variable_for(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

fn value_of(variable: &str, kind: Kind, text: String) -> Result<Value, ConfigError> {
    let wrong = |expected: &str| ConfigError::Environment {
        variable: variable.to_owned(),
        cause: format!("{text:?} is not {expected}"),
    };
    match kind {
        Kind::Flag => match text.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(wrong("true or false")),
        },
        Kind::Number => match text.parse::<u32>() {
            Ok(number) => Ok(Value::Number(number.into())),
            Err(_) => Err(wrong("a whole number")),
        },
        Kind::Text => Ok(Value::String(text)),
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
    use super::super::schema;
    use super::*;

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
