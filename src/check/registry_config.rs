//! Compares the registry's own configuration with crossmount's.
//!
//! The names are distribution's (`configuration/configuration.go`). Paths may differ because a
//! volume is mounted elsewhere in another container, so a difference is only a warning.

pub(crate) mod file;
mod writer;

use std::path::Path;

use crate::check::findings::Findings;
use crate::check::registry_config::file::RegistryConfig;
use crate::config::{
    AccessConfig, AccessMode, Config, DistributionConfig, DistributionVersion, RegistryKind,
    Secret, TokenRules, without_login,
};
use crate::notifications::ignores_mounts;

/// Names each difference.
pub(crate) fn compare(config: &Config, path: &Path, findings: &mut Findings) {
    if let RegistryKind::Pulp(_) | RegistryKind::Generic(_) = &config.kind {
        return findings
            .warn("--registry-config has an effect only with upstream.kind: distribution");
    }
    let file = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let theirs = match file.and_then(|text| RegistryConfig::parse(&text)) {
        Ok(theirs) => theirs,
        Err(error) => return findings.error(format!("{}: {error}", path.display())),
    };
    let before = findings.lines().len();
    match &config.kind {
        RegistryKind::Distribution(settings) => differences(&theirs, config, settings, findings),
        RegistryKind::RegistryWriter(settings) => writer::differences(&theirs, settings, findings),
        RegistryKind::Pulp(_) | RegistryKind::Generic(_) => {}
    }
    if findings.lines().len() == before {
        findings.ok(format!("{} and the configuration agree", path.display()));
    }
    findings.ok(
        "the registry's variables REGISTRY_* win over its file, and this check does not see them",
    );
}

pub(crate) fn differences(
    theirs: &RegistryConfig,
    config: &Config,
    settings: &DistributionConfig,
    findings: &mut Findings,
) {
    store(theirs, settings, findings);
    urls(theirs, config, findings);
    tls(theirs, config, settings, findings);
    headers(theirs, config, findings);
    access(theirs, &settings.access, findings);
    let is_one_told = theirs
        .parts(&["notifications", "endpoints"])
        .any(|it| notifies_of_mounts(&it, settings));
    if is_one_told && settings.endpoints.is_empty() {
        findings.warn("the registry has notifications.endpoints, and crossmount has none: its webhooks do not get mounts that crossmount answers; copy them");
    }
}

fn store(theirs: &RegistryConfig, settings: &DistributionConfig, findings: &mut Findings) {
    let driver = theirs.driver();
    if driver != "filesystem" {
        return writer::advise(theirs, &driver, settings.version, findings);
    }
    let root = theirs.root();
    if Path::new(&root) != settings.store.root {
        findings.warn(differs(
            "storage.filesystem.rootdirectory",
            &root,
            &settings.store.root.to_string_lossy(),
        ));
    }
    takes_writes(theirs, findings);
}

fn takes_writes(theirs: &RegistryConfig, findings: &mut Findings) {
    if theirs.is_true(&["storage", "maintenance", "readonly", "enabled"]) {
        findings.warn("the registry is read-only (storage.maintenance.readonly): crossmount mounts nothing until the registry accepts writes");
    }
    if theirs.text(&["proxy", "remoteurl"]).is_some() {
        findings.error("the registry is a pull-through cache (proxy.remoteurl): it accepts no pushes, so crossmount has nothing to mount: let clients use the registry directly");
    }
}

/// Compares the settings that make a Location.
fn urls(theirs: &RegistryConfig, config: &Config, findings: &mut Findings) {
    let upstream = &config.upstream;
    let host = theirs.text(&["http", "host"]).unwrap_or_default();
    let external = upstream.external_url.clone().unwrap_or_default();
    if host != external {
        findings.error(ours("http.host", &host, "upstream.external_url", &external));
    }
    let relative = theirs.is_true(&["http", "relativeurls"]);
    if relative != upstream.relative_urls {
        let (theirs, own) = (relative.to_string(), upstream.relative_urls.to_string());
        findings.error(ours(
            "http.relativeurls",
            &theirs,
            "upstream.relative_urls",
            &own,
        ));
    }
    let prefix = theirs.text(&["http", "prefix"]).unwrap_or_default();
    if prefix.trim_matches('/') != upstream.prefix.trim_matches('/') {
        findings.error(ours(
            "http.prefix",
            &prefix,
            "upstream.prefix",
            &upstream.prefix,
        ));
    }
}

/// Compares whether the registry has TLS, and what it then demands (`registry/registry.go`).
fn tls(
    theirs: &RegistryConfig,
    config: &Config,
    settings: &DistributionConfig,
    findings: &mut Findings,
) {
    let (tls, upstream) = (theirs.part(&["http", "tls"]), &config.upstream);
    let is_set = |path: &[&str]| tls.text(path).is_some();
    // An address for Let's Encrypt alone enables nothing.
    let is_tls = is_set(&["certificate"]) || is_set(&["letsencrypt", "cachefile"]);
    if is_tls != upstream.url.is_tls() {
        findings.error(format!(
            "the registry {} TLS (http.tls), but upstream.url is {}",
            if is_tls { "speaks" } else { "does not speak" },
            upstream.url
        ));
    }
    // 2.8 does not know this setting.
    let is_optional = settings.version == DistributionVersion::Three
        && matches!(
            tls.text(&["clientauth"]).as_deref(),
            Some("request-client-cert" | "verify-client-cert-if-given")
        );
    let is_demanded = is_tls && !is_optional && !tls.list(&["clientcas"]).is_empty();
    if is_demanded && upstream.client_certificate.is_none() {
        findings.warn(
            "the registry demands a client certificate (http.tls.clientcas): set \
             upstream.client_certificate and upstream.client_key to a pair that it accepts",
        );
    }
}

/// Whether the registry sends this endpoint events of its own mounts.
fn notifies_of_mounts(endpoint: &RegistryConfig, settings: &DistributionConfig) -> bool {
    let mut media_types = endpoint.list(&["ignore", "mediatypes"]);
    media_types.extend(endpoint.list(&["ignoredmediatypes"]));
    let actions = endpoint.list(&["ignore", "actions"]);
    !endpoint.is_true(&["disabled"]) && !ignores_mounts(settings.version, &media_types, &actions)
}

/// Compares only the names of headers: their values may be secret.
fn headers(theirs: &RegistryConfig, config: &Config, findings: &mut Findings) {
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let named = theirs.map(&["http", "headers"]);
    let own = &config.upstream.response_headers;
    for (name, values) in &named {
        let known = own.iter().find(|(known, _)| same(known, name));
        let is_same = |known: &[Secret<String>]| known.iter().map(Secret::expose).eq(values);
        if !known.is_some_and(|(_, known)| is_same(known)) {
            findings.warn(format!(
                "the registry sends {name} with each response (http.headers): set the same values in upstream.response_headers"
            ));
        }
    }
    for name in own.keys() {
        if !named.iter().any(|(known, _)| same(known, name)) {
            findings.warn(format!(
                "upstream.response_headers has {name}, which is not in the registry's http.headers: remove it"
            ));
        }
    }
}

fn access(theirs: &RegistryConfig, access: &AccessConfig, findings: &mut Findings) {
    let kinds = theirs.names(&["auth"]);
    let kind = kinds.first().map_or("none", String::as_str);
    match (&access.mode, kind) {
        (AccessMode::Upstream, "none") => findings.warn(
            "the registry has no auth: crossmount forwards mounts without credentials; set access.mode to none",
        ),
        (AccessMode::Upstream, _) | (AccessMode::None, "none") => {}
        (AccessMode::Token(rules), "token") => token(theirs, rules, findings),
        (AccessMode::Htpasswd(own), "htpasswd") => {
            let path = theirs.text(&["auth", "htpasswd", "path"]).unwrap_or_default();
            if Path::new(&path) != own {
                findings.warn(differs("auth.htpasswd.path", &path, &own.to_string_lossy()));
            }
        }
        (AccessMode::None, kind) => findings.error(format!(
            "the registry has auth.{kind}, but access.mode is none: set access.mode to upstream"
        )),
        (AccessMode::Token(_) | AccessMode::Htpasswd(_), kind) => findings.error(format!(
            "access.mode is {}, but the registry's auth is {kind}: set access.mode to the same",
            access.mode.word()
        )),
    }
}

fn token(theirs: &RegistryConfig, rules: &TokenRules, findings: &mut Findings) {
    let text = |key: &str| theirs.text(&["auth", "token", key]).unwrap_or_default();
    for (key, own) in [("issuer", &rules.issuer), ("service", &rules.service)] {
        if text(key) != *own {
            let (registrys, setting) = (format!("auth.token.{key}"), format!("access.token.{key}"));
            findings.error(ours(&registrys, &text(key), &setting, own));
        }
    }
    let paths = [
        ("rootcertbundle", rules.root_certificates.as_deref()),
        ("jwks", rules.jwks.as_deref()),
    ];
    for (key, own) in paths {
        let own = own.map(|path| path.to_string_lossy().into_owned());
        if text(key) != own.clone().unwrap_or_default() {
            let setting = format!("auth.token.{key}");
            findings.warn(differs(&setting, &text(key), &own.unwrap_or_default()));
        }
    }
    let mut algorithms: Vec<_> = theirs.list(&["auth", "token", "signingalgorithms"]);
    let mut own = rules.algorithms.clone();
    algorithms.sort();
    own.sort();
    if algorithms != own {
        let (registrys, own) = (algorithms.join(", "), own.join(", "));
        findings.error(ours(
            "auth.token.signingalgorithms",
            &registrys,
            "access.token.signingalgorithms",
            &own,
        ));
    }
}

fn shown_or_unset(text: &str) -> &str {
    if text.is_empty() { "not set" } else { text }
}

fn ours(theirs: &str, value: &str, setting: &str, own: &str) -> String {
    let (value, own) = (
        without_login(shown_or_unset(value)),
        without_login(shown_or_unset(own)),
    );
    format!("{theirs} is {value} in the registry's file, but {setting} is {own} here: set the same")
}

fn differs(theirs: &str, value: &str, own: &str) -> String {
    let (value, own) = (
        without_login(shown_or_unset(value)),
        without_login(shown_or_unset(own)),
    );
    format!(
        "{theirs} is {value} in the registry's file and {own} here: they must be the same, mounted at different places"
    )
}

#[cfg(test)]
mod tests;
