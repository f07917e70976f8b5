//! Whatever a registry's own file holds, each difference is one line without any header's value.

use crate::check::findings::Findings;
use crate::check::registry_config::differences;
use crate::check::registry_config::file::RegistryConfig;
use crate::config::{Config, Overrides, RegistryKind};

/// Stands for a secret in inputs.
const SECRET: &str = "hunter2";
/// A header whose value is that secret, in the inputs of the corpus.
const HEADER: &str = "headers: {X-Key: [hunter2]}";

/// A registry's configuration.
pub(crate) fn registry_files(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else {
        return false;
    };
    let theirs = match RegistryConfig::parse(text) {
        Ok(theirs) => theirs,
        Err(error) => {
            assert!(!error.is_empty());
            return false;
        }
    };
    let variables = [
        ("UPSTREAM_URL", "http://registry"),
        ("STORE_FILESYSTEM_ROOTDIRECTORY", "/srv"),
        ("ACCESS_MODE", "token"),
        ("ACCESS_TOKEN_ISSUER", "issuer"),
        ("ACCESS_TOKEN_SERVICE", "service"),
        ("ACCESS_TOKEN_ROOTCERTBUNDLE", "/bundle.pem"),
    ];
    let variables = variables.map(|(name, value)| (format!("CROSSMOUNT_{name}"), value.to_owned()));
    let Ok(config) = Config::load(None, variables, Overrides::default()) else {
        return false;
    };
    let RegistryKind::Distribution(settings) = &config.kind else {
        return false;
    };
    let mut findings = Findings::default();
    differences(&theirs, &config, settings, &mut findings);
    for line in findings.lines() {
        assert!(!line.contains('\n'), "{line:?}");
        let is_only_a_header = text.matches(SECRET).count() == 1 && text.contains(HEADER);
        assert!(!is_only_a_header || !line.contains(SECRET), "{line:?}");
    }
    true
}
