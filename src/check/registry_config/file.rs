//! The registry's own configuration file, read as the registry reads it.

use serde_yaml::Value;

use crate::config::{BucketConfig, ConfigError, DistributionVersion};

/// The default root of distribution's store
/// (`registry/storage/driver/filesystem/driver.go`).
const DEFAULT_ROOT: &str = "/var/lib/registry";

/// The keys of `storage` that are no drivers
/// (`configuration/configuration.go`, `Storage.Type`).
const BESIDE_DRIVERS: &[&str] = &["maintenance", "cache", "delete", "redirect", "tag"];

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

    /// The storage driver, such as `filesystem` or `s3`.
    pub(crate) fn driver(&self) -> String {
        let mut names = self.names(&["storage"]).into_iter();
        let driver = names.find(|name| !BESIDE_DRIVERS.contains(&&**name));
        driver.unwrap_or_else(|| "filesystem".to_owned())
    }

    /// The directory of the filesystem driver.
    pub(crate) fn root(&self) -> String {
        let root = self.text(&["storage", "filesystem", "rootdirectory"]);
        root.unwrap_or_else(|| DEFAULT_ROOT.to_owned())
    }

    /// The object store, if the driver is that of one. `environment` has variables that win over
    /// the file, such as `REGISTRY_STORAGE_S3_SECRETKEY`.
    pub(crate) fn bucket(
        &self,
        environment: impl Iterator<Item = (String, String)>,
        version: Option<DistributionVersion>,
    ) -> Option<Result<BucketConfig, ConfigError>> {
        let driver = self.driver();
        let section = match &*driver {
            // distribution has two names for the same driver.
            "s3" | "s3aws" => "s3",
            "azure" => "azure",
            "gcs" => "gcs",
            _ => return None,
        };
        let mut settings = match self.get(&["storage", &driver]) {
            Some(Value::Mapping(settings)) => settings.clone(),
            _ => serde_yaml::Mapping::new(),
        };
        let prefix = format!("REGISTRY_STORAGE_{}_", driver.to_uppercase());
        for (name, value) in environment {
            if let Some(name) = name.strip_prefix(&prefix) {
                settings.insert(name.to_lowercase().into(), value.into());
            }
        }
        Some(BucketConfig::of_registry(section, settings, version))
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
