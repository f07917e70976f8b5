//! How access is decided, and the registry's token endpoint.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::DistributionVersion;
use crate::config::leaf::{Word, parsed};
use crate::config::secret::without_login;

/// What distribution's `auth.token.signingalgorithms` may name (`registry/auth/token/token.go`).
const ALGORITHMS: &[&str] = &[
    "EdDSA", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512",
    "PS256", "PS384", "PS512",
];

/// How access is decided, and for how long a decision is cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessConfig {
    /// What decides.
    pub mode: AccessMode,
    /// How long a decision in a caller's favour is cached, for exactly these credentials.
    pub decision_ttl: Duration,
}

/// What decides whether a caller may mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessMode {
    /// By the registry, asked with the caller's own credentials.
    Upstream,
    /// By crossmount, from the bearer token.
    Token(TokenRules),
    /// By crossmount, from the password file at this path.
    Htpasswd(PathBuf),
    /// Not at all: the registry has no access control.
    None,
}

/// What access control the registry has: `access.mode` by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessName {
    /// Any kind.
    Upstream,
    /// Bearer tokens.
    Token,
    /// A password file.
    Htpasswd,
    /// None at all.
    None,
}

impl Word for AccessName {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("upstream", Self::Upstream),
        ("token", Self::Token),
        ("htpasswd", Self::Htpasswd),
        ("none", Self::None),
    ];
}

impl AccessName {
    /// As `access.mode` has it.
    #[must_use]
    pub fn text(self) -> &'static str {
        self.word()
    }
}

impl AccessMode {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> AccessName {
        match self {
            Self::Upstream => AccessName::Upstream,
            Self::Token(_) => AccessName::Token,
            Self::Htpasswd(_) => AccessName::Htpasswd,
            Self::None => AccessName::None,
        }
    }

    /// As `access.mode` has it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.name().word()
    }
}

/// The registry's own `auth.token`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct TokenRules {
    /// The issuer whose tokens are accepted: a name, and often a URL.
    #[serde(serialize_with = "masked")]
    pub issuer: String,
    /// The audience that tokens must name.
    #[serde(serialize_with = "masked")]
    pub service: String,
    /// PEM file with the trusted certificates.
    #[serde(rename = "rootcertbundle", default, deserialize_with = "path")]
    pub root_certificates: Option<PathBuf>,
    /// JSON file with the trusted keys.
    #[serde(default, deserialize_with = "path")]
    pub jwks: Option<PathBuf>,
    /// Names of the accepted algorithms; empty: all that distribution accepts.
    #[serde(
        rename = "signingalgorithms",
        default,
        deserialize_with = "signing_algorithms"
    )]
    pub algorithms: Vec<String>,
    /// The version whose rules apply: `upstream.version`.
    #[serde(skip)]
    pub version: DistributionVersion,
}

fn masked<S: Serializer>(text: &str, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&without_login(text))
}

/// An empty path is none.
fn path<'de, D: Deserializer<'de>>(value: D) -> Result<Option<PathBuf>, D::Error> {
    parsed(value, |text| {
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    })
}

fn signing_algorithms<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(value)?;
    match names.iter().find(|name| !ALGORITHMS.contains(&&***name)) {
        None => Ok(names),
        Some(name) => {
            let known = ALGORITHMS.join(", ");
            Err(D::Error::custom(format!("{name:?} is not one of: {known}")))
        }
    }
}

/// The registry's own token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenEndpointConfig {
    /// The path on the registry's own port.
    pub path: String,
    /// How long its responses are cached at most; `None`: not at all.
    pub remembered_for: Option<Duration>,
    /// Whether pull on likely sources is added to a client's own token request.
    pub widens_scopes: bool,
}
