//! Environment variables and flags laid over the file.

use std::collections::HashMap;

use serde_yaml::Value;

use super::ConfigError;
use super::shape::{FileShape, ScalarKind};
use super::tree::Tree;

const PREFIX: &str = "CROSSMOUNT_";

/// Settings from the command line.
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

/// Lays environment and flags over the file's settings. Returns warnings.
pub(super) fn overlay(
    tree: &mut Tree,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: Overrides,
) -> Result<Vec<String>, ConfigError> {
    let known: HashMap<_, _> = scalars()
        .map(|(name, path, kind)| (name, (path, kind)))
        .collect();
    let mut warnings = Vec::new();
    let mut variables: Vec<_> = environment
        .into_iter()
        // Charts set variables to an empty text if a value is left out.
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .collect();
    variables.sort();
    for (name, text) in variables {
        match known.get(&name) {
            Some((path, kind)) => tree.put(path, value_of(&name, *kind, text)?),
            None => warnings.push(format!(
                "{name} is not a setting of this version and is ignored: correct or unset it"
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
            tree.put(path, Value::String(text));
        }
    }
    Ok(warnings)
}

/// Every scalar setting with its variable.
fn scalars() -> impl Iterator<Item = (String, String, ScalarKind)> {
    let settings = FileShape::all().into_iter();
    let scalars = settings.filter(|(_, kind)| *kind != ScalarKind::List);
    scalars.map(|(path, kind)| (variable_for(&path), path, kind))
}

pub(super) fn variable_for(path: &str) -> String {
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
        ScalarKind::Text | ScalarKind::List => Ok(Value::String(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_settings_share_a_variable() {
        let mut names: Vec<_> = scalars().map(|(name, ..)| name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
