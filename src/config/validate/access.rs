//! Who may mount.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::kind::{Access, AccessMode, DistributionVersion, TokenRules};
use crate::config::validate::single::{choice, invalid, span};
use crate::config::{ConfigError, schema};

/// Decisions are kept for seconds: a right that is taken away lives on for as long.
const LONGEST_DECISION: Duration = Duration::from_secs(60);
/// What distribution's `auth.token.signingalgorithms` may name (`registry/auth/token/token.go`).
const ALGORITHMS: &[&str] = &[
    "EdDSA", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512",
    "PS256", "PS384", "PS512",
];

#[derive(Clone, Copy)]
enum Word {
    Upstream,
    Token,
    Htpasswd,
    None,
}

pub(crate) fn validate(
    file: schema::Access,
    version: DistributionVersion,
    warnings: &mut Vec<String>,
) -> Result<Access, ConfigError> {
    let words = [
        ("upstream", Word::Upstream),
        ("token", Word::Token),
        ("htpasswd", Word::Htpasswd),
        ("none", Word::None),
    ];
    let word = choice("access.mode", file.mode.as_deref(), &words, Word::Upstream)?;
    if file.token.is_some() && !matches!(word, Word::Token) {
        return Err(invalid(
            "access.token",
            "is of use only with access.mode: token",
        ));
    }
    if file.htpasswd.is_some() && !matches!(word, Word::Htpasswd) {
        return Err(invalid(
            "access.htpasswd",
            "is of use only with access.mode: htpasswd",
        ));
    }
    let mode = match word {
        Word::Upstream => AccessMode::Upstream,
        Word::None => AccessMode::None,
        Word::Token => AccessMode::Token(token(file.token.unwrap_or_default(), version, warnings)?),
        Word::Htpasswd => {
            let path = file.htpasswd.and_then(|htpasswd| htpasswd.path);
            let question = "is missing: which is the registry's auth.htpasswd.path?";
            AccessMode::Htpasswd(PathBuf::from(given(
                "access.htpasswd.path",
                path,
                question,
            )?))
        }
    };
    Ok(Access {
        mode,
        decision_ttl: decision_ttl(file.decision_ttl.as_deref())?,
    })
}

fn decision_ttl(text: Option<&str>) -> Result<Duration, ConfigError> {
    let setting = "access.decision_ttl";
    let ttl = span(setting, text, Duration::from_secs(10))?;
    if ttl > LONGEST_DECISION {
        return Err(invalid(
            setting,
            "must not be longer than a minute: a right that is taken away lives on for as long",
        ));
    }
    Ok(ttl)
}

fn token(
    file: schema::Token,
    version: DistributionVersion,
    warnings: &mut Vec<String>,
) -> Result<TokenRules, ConfigError> {
    let path = |text: Option<String>| text.filter(|text| !text.is_empty()).map(PathBuf::from);
    let rules = TokenRules {
        issuer: given(
            "access.token.issuer",
            file.issuer,
            "is missing: which is the registry's auth.token.issuer?",
        )?,
        service: given(
            "access.token.service",
            file.service,
            "is missing: which is the registry's auth.token.service?",
        )?,
        root_certificates: path(file.rootcertbundle),
        jwks: path(file.jwks),
        algorithms: algorithms(file.signingalgorithms, warnings)?,
        version,
    };
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

fn algorithms(names: Vec<String>, warnings: &mut Vec<String>) -> Result<Vec<String>, ConfigError> {
    let setting = "access.token.signingalgorithms";
    if let Some(name) = names.iter().find(|name| !ALGORITHMS.contains(&&***name)) {
        let known = ALGORITHMS.join(", ");
        return Err(invalid(setting, format!("{name:?} is not one of: {known}")));
    }
    if names.iter().any(|name| name.starts_with("HS")) {
        warnings.push(format!(
            "{setting}: tokens signed with a shared secret (HS256, HS384, HS512) are never believed here"
        ));
    }
    Ok(names)
}

fn given(
    setting: &'static str,
    text: Option<String>,
    question: &str,
) -> Result<String, ConfigError> {
    text.filter(|text| !text.is_empty())
        .ok_or_else(|| invalid(setting, question))
}
