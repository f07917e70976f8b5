//! The registry behind.

use crate::config::tree::{Tree, invalid};
use crate::config::{ConfigError, UpstreamConfig};

pub(super) fn read(tree: &Tree) -> Result<UpstreamConfig, ConfigError> {
    tree.require(
        "upstream.url",
        "is missing: where does the registry listen?",
    )?;
    let upstream: UpstreamConfig = tree.section("upstream")?;
    let files = [
        ("upstream.ca_certificate", &upstream.ca_certificate),
        ("upstream.client_certificate", &upstream.client_certificate),
        ("upstream.client_key", &upstream.client_key),
    ];
    for (setting, path) in files {
        let Some(path) = path else { continue };
        if !upstream.url.is_tls() {
            return Err(invalid(setting, "is of use only with an https upstream"));
        }
        if path.as_os_str().is_empty() {
            return Err(invalid(setting, "is empty"));
        }
    }
    match (&upstream.client_certificate, &upstream.client_key) {
        (Some(_), None) => Err(invalid(
            "upstream.client_key",
            "is missing: which is the key of upstream.client_certificate?",
        )),
        (None, Some(_)) => Err(invalid(
            "upstream.client_certificate",
            "is missing: whose key is upstream.client_key?",
        )),
        (Some(_), Some(_)) | (None, None) => Ok(upstream),
    }
}
