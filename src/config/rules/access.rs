//! How access is decided.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::leaf::{Word, parse_span};
use crate::config::tree::{Tree, invalid};
use crate::config::{
    AccessConfig, AccessMode, AccessName, ConfigError, DistributionVersion, TokenRules,
};

/// Decisions are cached for seconds: a right that is taken away lives on for as long.
const LONGEST_DECISION: Duration = Duration::from_secs(60);

/// `access.mode`.
pub(super) fn name(tree: &Tree) -> Result<AccessName, ConfigError> {
    let name = tree.setting("access.mode", AccessName::parse_word)?;
    Ok(name.unwrap_or(AccessName::Upstream))
}

pub(super) fn read(
    tree: &Tree,
    version: DistributionVersion,
    warnings: &mut Vec<String>,
) -> Result<AccessConfig, ConfigError> {
    let name = name(tree)?;
    if tree.has("access.token") && name != AccessName::Token {
        let reason = "is of use only with access.mode: token";
        return Err(invalid("access.token", reason));
    }
    if tree.has("access.htpasswd") && name != AccessName::Htpasswd {
        let reason = "is of use only with access.mode: htpasswd";
        return Err(invalid("access.htpasswd", reason));
    }
    let mode = match name {
        AccessName::Upstream => AccessMode::Upstream,
        AccessName::None => AccessMode::None,
        AccessName::Token => AccessMode::Token(token(tree, version, warnings)?),
        AccessName::Htpasswd => AccessMode::Htpasswd(PathBuf::from(tree.text(
            "access.htpasswd.path",
            "is missing: which is the registry's auth.htpasswd.path?",
        )?)),
    };
    let decision_ttl = tree.setting("access.decision_ttl", |text| match parse_span(text)? {
        ttl if ttl > LONGEST_DECISION => Err(
            "must not be longer than a minute: a right that is taken away lives on for as long"
                .to_owned(),
        ),
        ttl => Ok(ttl),
    })?;
    Ok(AccessConfig {
        mode,
        decision_ttl: decision_ttl.unwrap_or(Duration::from_secs(10)),
    })
}

fn token(
    tree: &Tree,
    version: DistributionVersion,
    warnings: &mut Vec<String>,
) -> Result<TokenRules, ConfigError> {
    for (setting, question) in [
        (
            "access.token.issuer",
            "is missing: which is the registry's auth.token.issuer?",
        ),
        (
            "access.token.service",
            "is missing: which is the registry's auth.token.service?",
        ),
    ] {
        tree.text(setting, question)?;
    }
    let rules = TokenRules {
        version,
        ..tree.section("access.token")?
    };
    if rules.algorithms.iter().any(|name| name.starts_with("HS")) {
        warnings.push(
            "access.token.signingalgorithms: tokens signed with a shared secret \
             (HS256, HS384, HS512) are never believed here"
                .to_owned(),
        );
    }
    if rules.jwks.is_some() && version == DistributionVersion::Two {
        return Err(invalid(
            "access.token.jwks",
            "is a setting of distribution 3: set upstream.version to 3 if the registry is one",
        ));
    }
    if rules.root_certificates.is_none() && rules.jwks.is_none() {
        return Err(invalid(
            "access.token.rootcertbundle",
            "is missing: which is the registry's auth.token.rootcertbundle?",
        ));
    }
    Ok(rules)
}
