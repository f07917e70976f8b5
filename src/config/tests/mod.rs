//! Settings, by what they are about.

mod discovery;
mod kinds;
mod notifications;
mod redis;
mod reference;
mod sources;
mod writer;
mod wrong;

use std::path::Path;
use std::time::Duration;

use super::*;

const MINIMAL: &str = "
upstream: {url: 'http://127.0.0.1:5010'}
store: {filesystem: {rootdirectory: /srv/registry}}
";

const PULP: &str = "upstream: {url: 'http://127.0.0.1:24817', kind: pulp}\n";
const GENERIC: &str = "upstream: {url: 'http://127.0.0.1:8080', kind: generic}\n";

/// The part of a configuration that belongs to distribution.
fn distribution(config: &Config) -> &DistributionConfig {
    match &config.kind {
        RegistryKind::Distribution(settings) => settings,
        other => panic!("{other:?}"),
    }
}

fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(text, &[], Overrides::default())
}

fn load_with(text: &str, env: &[(&str, &str)], flags: Overrides) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("crossmount.yaml");
    std::fs::write(&path, text).unwrap();
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(&path), env, flags)
}

fn error(text: &str) -> String {
    load(text).unwrap_err().to_string()
}
