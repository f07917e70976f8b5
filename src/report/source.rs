//! Where the store of a report is: a directory, a bucket, or what the registry's own file says.

use std::path::{Path, PathBuf};

use crate::check::registry_config::file::RegistryConfig;
use crate::config::BucketConfig;
use crate::report::ReportError;

/// Where the store is.
#[derive(Debug)]
pub enum ReportSource {
    /// The registry's rootdirectory.
    Directory(PathBuf),
    /// The registry's object store.
    Bucket(Box<BucketConfig>),
}

impl ReportSource {
    /// Reads the registry's own configuration. Variables of the form `REGISTRY_STORAGE_S3_BUCKET`
    /// win over the file, as for the registry.
    pub fn of_registry(
        file: &Path,
        mut environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ReportError> {
        let wrong = |reason: String| {
            let file = file.display();
            ReportError::Source(format!("{file}: {reason}"))
        };
        let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let theirs = RegistryConfig::parse(&text).map_err(wrong)?;
        let driver = theirs.driver();
        if driver == "filesystem" {
            let root = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";
            let root = environment.find(|(name, _)| name == root);
            let root = root.map_or_else(|| theirs.root(), |(_, root)| root);
            return Ok(Self::Directory(root.into()));
        }
        match theirs.bucket(environment, None) {
            Some(Ok(bucket)) => Ok(Self::Bucket(Box::new(bucket))),
            Some(Err(error)) => Err(wrong(error.to_string())),
            None => Err(wrong(format!(
                "the registry stores in {driver}, which crossmount cannot list"
            ))),
        }
    }
}

impl ReportSource {
    /// A bucket in Amazon's S3, or at another server's `endpoint`.
    pub fn s3(
        bucket: String,
        region: Option<String>,
        endpoint: Option<String>,
        root: Option<String>,
    ) -> Result<Self, ReportError> {
        let given = [
            ("bucket", Some(bucket)),
            ("region", region),
            ("regionendpoint", endpoint),
            ("rootdirectory", root),
        ];
        let given = given
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let settings = given
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        match BucketConfig::of_registry("s3", settings, None) {
            Ok(bucket) => Ok(Self::Bucket(Box::new(bucket))),
            Err(error) => Err(ReportError::Source(flags(&error.to_string()))),
        }
    }
}

/// Names the flags in place of the settings that they stand for.
fn flags(text: &str) -> String {
    [
        ("storage.s3.regionendpoint", "--s3-endpoint"),
        ("storage.s3.region", "--s3-region"),
        ("storage.s3.rootdirectory", "--s3-root"),
        ("storage.s3.bucket", "--s3"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (setting, flag)| {
        text.replace(setting, flag)
    })
}
