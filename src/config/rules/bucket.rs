//! The object store in which the registry keeps its data.

use reqwest::Url;
use serde_yaml::{Mapping, Value};

use crate::config::tree::{Tree, invalid};
use crate::config::{
    AzureConfig, BucketConfig, ConfigError, DistributionVersion, GcsConfig, S3Config,
};

/// Reads the section of the object store, if there is one.
pub(in crate::config) fn read(
    tree: &Tree,
    warnings: &mut Vec<String>,
) -> Result<Option<BucketConfig>, ConfigError> {
    let sections = ["store.filesystem", "store.s3", "store.azure", "store.gcs"];
    let mut named = sections.into_iter().filter(|path| tree.has(path));
    if let (Some(first), Some(second)) = (named.next(), named.next()) {
        let reason = format!("cannot be beside {first}: the registry keeps its data in one place");
        return Err(invalid(second, reason));
    }
    let bucket = if tree.has("store.s3") {
        BucketConfig::S3(s3(tree)?)
    } else if tree.has("store.azure") {
        BucketConfig::Azure(azure(tree)?)
    } else if tree.has("store.gcs") {
        BucketConfig::Gcs(gcs(tree)?)
    } else {
        return Ok(None);
    };
    root_directory(tree, bucket.section())?;
    warnings.extend(ignored(tree, bucket.section()));
    Ok(Some(bucket))
}

impl BucketConfig {
    /// As [`read`], of the settings of the registry's own driver: `s3`, `azure` or `gcs`.
    pub(crate) fn of_registry(
        driver: &str,
        settings: Mapping,
        version: Option<DistributionVersion>,
    ) -> Result<Self, ConfigError> {
        let mut tree = Tree::default();
        tree.put(
            &format!("store.{driver}"),
            as_texts(Value::Mapping(settings)),
        );
        if let Some(version) = version {
            tree.put("upstream.version", version.number().into());
        }
        match read(&tree, &mut Vec::new()) {
            Ok(Some(bucket)) => Ok(bucket),
            Ok(None) => Err(invalid("storage", "has no driver of an object store")),
            // The names are those of the registry's file.
            Err(ConfigError::Invalid { setting, reason }) => {
                let setting = setting.replacen("store.", "storage.", 1);
                Err(invalid(setting, reason.replace("store.", "storage.")))
            }
            Err(error) => Err(error),
        }
    }
}

/// The registry takes a number for a text.
fn as_texts(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        Value::Mapping(section) => {
            let fields = section.into_iter().filter(|(_, value)| !value.is_null());
            Value::Mapping(fields.map(|(key, value)| (key, as_texts(value))).collect())
        }
        value => value,
    }
}

/// One line about all settings of the section that have no effect here.
fn ignored(tree: &Tree, section: &str) -> Option<String> {
    let (_, names) = BucketConfig::IGNORED
        .iter()
        .find(|(it, _)| *it == section)?;
    let given = names
        .iter()
        .filter(|name| tree.has(&format!("{section}.{name}")));
    let given: Vec<_> = given.copied().collect();
    (!given.is_empty()).then(|| {
        let given = given.join(", ");
        format!(
            "{section}: crossmount only lists the bucket, so these settings are ignored: {given}"
        )
    })
}

fn s3(tree: &Tree) -> Result<S3Config, ConfigError> {
    tree.text(
        "store.s3.bucket",
        "is missing: which is the registry's bucket?",
    )?;
    let mut s3: S3Config = tree.section("store.s3")?;
    if !s3.v4auth {
        let reason = "must be true: crossmount signs its requests with version 4 alone";
        return Err(invalid("store.s3.v4auth", reason));
    }
    for key in [&mut s3.accesskey, &mut s3.secretkey] {
        // Charts write a value that is left out as an empty text.
        *key = key.take().filter(|key| !key.expose().is_empty());
    }
    match (&s3.accesskey, &s3.secretkey) {
        (Some(_), None) => {
            let question = "is missing: which is the secret of store.s3.accesskey?";
            return Err(invalid("store.s3.secretkey", question));
        }
        (None, Some(_)) => {
            let question = "is missing: whose secret is store.s3.secretkey?";
            return Err(invalid("store.s3.accesskey", question));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    if s3.regionendpoint.is_empty() {
        tree.text(
            "store.s3.region",
            "is missing: in which region of Amazon is the bucket? Another server needs store.s3.regionendpoint",
        )?;
    } else {
        address("store.s3.regionendpoint", &s3.server())?;
        // distribution 2 has the bucket in the path if it has an endpoint, whatever is set.
        let is_two = version(tree)? == DistributionVersion::Two;
        s3.forcepathstyle |= is_two && !tree.has("store.s3.forcepathstyle");
    }
    Ok(s3)
}

fn azure(tree: &Tree) -> Result<AzureConfig, ConfigError> {
    let question = "is missing: which is the storage account?";
    tree.text("store.azure.accountname", question)?;
    let question = "is missing: which is the registry's container?";
    tree.text("store.azure.container", question)?;
    let mut azure: AzureConfig = tree.section("store.azure")?;
    // distribution 2 writes them so, and knows none of these settings.
    let is_newer = ["credentials", "rootdirectory", "serviceurl"]
        .iter()
        .any(|name| tree.has(&format!("store.azure.{name}")));
    azure.has_leading_slash = version(tree)? == DistributionVersion::Two && !is_newer;
    address("store.azure.serviceurl", &azure.server())?;
    let credentials = &azure.credentials;
    match &*credentials.kind {
        // distribution 2 has no other form.
        "" | "shared_key" if azure.accountkey.is_some() => {}
        "" | "shared_key" => {
            let question = "is missing: which is the key of the account? For another form of access set store.azure.credentials.type";
            return Err(invalid("store.azure.accountkey", question));
        }
        "client_secret" => {
            let parts = [
                ("clientid", credentials.clientid.is_empty()),
                ("tenantid", credentials.tenantid.is_empty()),
                ("secret", credentials.secret.is_none()),
            ];
            if let Some((name, _)) = parts.into_iter().find(|(_, is_missing)| *is_missing) {
                let setting = format!("store.azure.credentials.{name}");
                return Err(invalid(setting, "is missing: client_secret needs it"));
            }
        }
        "default_credentials" => {}
        other => {
            let reason =
                format!("{other:?} is not one of: shared_key, client_secret, default_credentials");
            return Err(invalid("store.azure.credentials.type", reason));
        }
    }
    Ok(azure)
}

fn gcs(tree: &Tree) -> Result<GcsConfig, ConfigError> {
    tree.text(
        "store.gcs.bucket",
        "is missing: which is the registry's bucket?",
    )?;
    let gcs: GcsConfig = tree.section("store.gcs")?;
    // As distribution: the file wins.
    let is_empty = |path: &std::path::PathBuf| path.as_os_str().is_empty();
    Ok(GcsConfig {
        keyfile: gcs.keyfile.filter(|path| !is_empty(path)),
        ..gcs
    })
}

/// The version of distribution decides about defaults of its drivers.
fn version(tree: &Tree) -> Result<DistributionVersion, ConfigError> {
    Ok(tree.value("upstream.version")?.unwrap_or_default())
}

fn address(setting: &str, url: &str) -> Result<(), ConfigError> {
    let is_right = |url: &Url| {
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        // What is behind a host would not be part of what is signed.
        is_web && url.username().is_empty() && url.password().is_none() && url.query().is_none()
    };
    match Url::parse(url).ok().filter(is_right) {
        Some(_) => Ok(()),
        None => Err(invalid(
            setting,
            "is not http:// or https:// with a host and no user",
        )),
    }
}

/// A key is looked for as it is written, so its parts must be those of a path.
fn root_directory(tree: &Tree, section: &str) -> Result<(), ConfigError> {
    let setting = format!("{section}.rootdirectory");
    let root = tree.setting(&setting, |text| Ok(text.to_owned()))?;
    let root = root.unwrap_or_default();
    let root = root.trim_matches('/');
    if root.ends_with("docker/registry/v2") {
        let reason = "ends with docker/registry/v2, which the registry makes below its rootdirectory: leave that part out";
        return Err(invalid(setting, reason));
    }
    let is_odd = |part: &str| part.is_empty() || part == "." || part == "..";
    let has_control = root.chars().any(char::is_control);
    if has_control || (!root.is_empty() && root.split('/').any(is_odd)) {
        let reason = "has an empty part, a part of dots alone or a control character: no key of a registry can be found there";
        return Err(invalid(setting, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
