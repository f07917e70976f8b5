//! The registry behind crossmount.

use crate::config::tree::{Tree, invalid, only_with};
use crate::config::{ConfigError, UpstreamConfig};

pub(super) fn read(tree: &Tree) -> Result<UpstreamConfig, ConfigError> {
    tree.require(
        "upstream.url",
        "is missing: set it to the registry's address, such as http://127.0.0.1:5010",
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
            return Err(only_with(setting, "an https:// URL in upstream.url"));
        }
        if path.as_os_str().is_empty() {
            return Err(invalid(setting, "is empty: name a file, or remove it"));
        }
    }
    match (&upstream.client_certificate, &upstream.client_key) {
        (Some(_), None) => Err(invalid(
            "upstream.client_key",
            "is missing: set it to the key of upstream.client_certificate",
        )),
        (None, Some(_)) => Err(invalid(
            "upstream.client_certificate",
            "is missing: set it to the certificate of upstream.client_key",
        )),
        (Some(_), Some(_)) | (None, None) => Ok(upstream),
    }
}
