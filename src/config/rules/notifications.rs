//! Webhooks.

use std::collections::HashSet;

use serde_yaml::Value;

use crate::config::tree::{Tree, invalid, typed};
use crate::config::{ConfigError, EndpointConfig};

const SETTING: &str = "notifications.endpoints";

pub(super) fn read(tree: &Tree) -> Result<Vec<EndpointConfig>, ConfigError> {
    let mut names = HashSet::new();
    let mut endpoints = Vec::new();
    for (number, settings) in tree.list(SETTING).iter().enumerate() {
        let settings = Tree::from(settings.clone());
        // The registry reads nothing else of it then (`registry/handlers/app.go`).
        if settings.is_true("disabled") {
            continue;
        }
        let endpoint = endpoint(settings, number + 1).map_err(|reason| invalid(SETTING, reason))?;
        if !names.insert(endpoint.name.clone()) {
            let reason = format!(
                "two endpoints have the name {:?}: rename one",
                endpoint.name
            );
            return Err(invalid(SETTING, reason));
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

fn endpoint(mut settings: Tree, number: usize) -> Result<EndpointConfig, String> {
    let missing = format!("endpoint {number} has no name: set one");
    let name = settings
        .text("name", &missing)
        .map_err(|_| missing.clone())?
        .to_owned();
    if !settings.has("url") {
        settings.put("url", Value::String(String::new()));
    }
    let ignored = settings.list("ignoredmediatypes").iter();
    let ignored: Vec<_> = ignored
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let endpoint = typed::<EndpointConfig>(settings.into_inner());
    let mut endpoint = endpoint.map_err(|(setting, reason)| match setting.as_str() {
        // Its reasons name the header.
        "headers" => format!("{name}: {reason}"),
        setting => format!("{name}: {setting} {reason}"),
    })?;
    endpoint.ignore.mediatypes.extend(ignored);
    Ok(endpoint)
}
