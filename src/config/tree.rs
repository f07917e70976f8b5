//! The settings as the operator wrote them, before they have their types.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use super::{ConfigError, on_one_line};

/// Settings by their path, such as `mount.time_budget`. A setting that is not set is absent.
#[derive(Debug, Default)]
pub(super) struct Tree(Value);

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl Tree {
    /// The tree of the settings that are set.
    pub(crate) fn of(settings: impl Serialize) -> Result<Self, serde_yaml::Error> {
        serde_yaml::to_value(settings).map(Self)
    }

    pub(crate) fn into_inner(self) -> Value {
        self.0
    }

    fn get(&self, path: &str) -> Option<&Value> {
        path.split('.')
            .try_fold(&self.0, |tree, name| tree.get(name))
    }

    /// Whether the setting or section is set.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// Whether it is a list or a section that is not empty.
    pub(crate) fn has_within(&self, path: &str) -> bool {
        match self.get(path) {
            Some(Value::Sequence(values)) => !values.is_empty(),
            Some(Value::Mapping(values)) => !values.is_empty(),
            _ => false,
        }
    }

    pub(crate) fn is_true(&self, path: &str) -> bool {
        self.get(path).and_then(Value::as_bool) == Some(true)
    }

    pub(crate) fn list(&self, path: &str) -> &[Value] {
        let list = self.get(path).and_then(Value::as_sequence);
        list.map_or(&[], Vec::as_slice)
    }

    /// Sets the value at a path, and creates the sections above it.
    pub(crate) fn put(&mut self, path: &str, value: Value) {
        let mut place = &mut self.0;
        for name in path.split('.') {
            if !place.is_mapping() {
                *place = Value::Mapping(Mapping::new());
            }
            let Value::Mapping(section) = place else {
                return;
            };
            place = section.entry(name.into()).or_insert(Value::Null);
        }
        *place = value;
    }

    /// As [`Tree::put`], with a value that serde writes.
    pub(crate) fn write(
        &mut self,
        path: &str,
        value: impl Serialize,
    ) -> Result<(), serde_yaml::Error> {
        self.put(path, serde_yaml::to_value(value)?);
        Ok(())
    }

    /// A section with the types of its settings, and with defaults.
    pub(crate) fn section<T: DeserializeOwned>(&self, path: &str) -> Result<T, ConfigError> {
        let nothing = Value::Mapping(Mapping::new());
        typed_at(path, self.get(path).unwrap_or(&nothing))
    }

    /// A setting with its type, if it is set.
    pub(crate) fn value<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ConfigError> {
        let value = self.get(path).map(|value| typed_at(path, value));
        value.transpose()
    }

    /// The parsed text of a setting, if it is set.
    pub(crate) fn setting<T>(
        &self,
        path: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let text = self.get(path).and_then(Value::as_str);
        let parsed = text.map(parse).transpose();
        parsed.map_err(|reason| invalid(path, reason))
    }

    /// Refuses a configuration in which this is not set.
    pub(crate) fn require(&self, path: &str, question: &str) -> Result<(), ConfigError> {
        match self.get(path) {
            Some(_) => Ok(()),
            None => Err(invalid(path, question)),
        }
    }

    /// A text that must be set and must not be empty.
    pub(crate) fn text(&self, path: &str, question: &str) -> Result<&str, ConfigError> {
        let text = self.get(path).and_then(Value::as_str);
        let text = text.filter(|text| !text.is_empty());
        text.ok_or_else(|| invalid(path, question))
    }
}

fn typed_at<T: DeserializeOwned>(path: &str, value: &Value) -> Result<T, ConfigError> {
    typed(value.clone()).map_err(|(below, reason)| match below.as_str() {
        "" => invalid(path, reason),
        below => invalid(format!("{path}.{below}"), reason),
    })
}

/// The typed value, or the setting within it that cannot be used, and why.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, (String, String)> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        // Of a list the whole list is the setting. The whole value is written as a dot.
        let setting = path.split('[').next().unwrap_or_default();
        let setting = setting.trim_matches('.').to_owned();
        (setting, on_one_line(&error.into_inner().to_string()))
    })
}

/// Refuses a setting that has an effect only with another one.
pub(super) fn only_with(setting: &str, other: &str) -> ConfigError {
    invalid(
        setting,
        format!("has an effect only with {other}: remove it, or set that"),
    )
}

pub(super) fn invalid(setting: impl Into<String>, reason: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        setting: setting.into(),
        reason: reason.into(),
    }
}
