//! The registry's own configuration file, read as the registry reads it.

use serde_yaml::Value;

/// The file's content, or a part of it.
pub(crate) struct RegistryConfig(Value);

impl RegistryConfig {
    /// Parses as distribution does; the error says why it would not.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tree: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        tree.apply_merge().map_err(|error| error.to_string())?;
        let read = Self(tree);
        if read.names(&["storage"]).is_empty() {
            return Err(
                "has no storage section: name the configuration file of the registry".to_owned(),
            );
        }
        Ok(read)
    }

    pub(crate) fn get(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.0, |value, key| value.get(*key))
    }

    /// The names at a path: a single one may be written as a text.
    pub(crate) fn names(&self, path: &[&str]) -> Vec<String> {
        match self.get(path) {
            Some(Value::String(name)) => vec![name.clone()],
            Some(Value::Mapping(map)) => map.keys().filter_map(scalar).collect(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn text(&self, path: &[&str]) -> Option<String> {
        scalar(self.get(path)?).filter(|text| !text.is_empty())
    }

    /// Reads a boolean by the words of YAML 1.1, as Go's parser does.
    pub(crate) fn is_true(&self, path: &[&str]) -> bool {
        let text = self.text(path).unwrap_or_default().to_lowercase();
        matches!(&*text, "true" | "yes" | "on" | "y")
    }

    pub(crate) fn list(&self, path: &[&str]) -> Vec<String> {
        let list = self.get(path).and_then(Value::as_sequence);
        let text = |value| scalar(value).unwrap_or_default();
        list.into_iter().flatten().map(text).collect()
    }

    /// The part at a path.
    pub(crate) fn part(&self, path: &[&str]) -> Self {
        Self(self.get(path).cloned().unwrap_or_default())
    }

    /// The parts of the list at a path.
    pub(crate) fn parts(&self, path: &[&str]) -> impl Iterator<Item = Self> {
        let list = self.get(path).and_then(Value::as_sequence);
        list.into_iter().flatten().map(|value| Self(value.clone()))
    }

    pub(crate) fn map(&self, path: &[&str]) -> Vec<(String, Vec<String>)> {
        let names = self.names(path).into_iter();
        names
            .map(|name| {
                let values = self.list(&[path, &[&name]].concat());
                (name, values)
            })
            .collect()
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}
