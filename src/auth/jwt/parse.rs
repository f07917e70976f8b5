//! Reads a token's three parts, strictly.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::auth::jwt::strict_json;

/// Longer tokens are not parsed.
const LONGEST: usize = 64 * 1024;
/// The members of a header that distribution reads.
const HEADER: &[&str] = &["typ", "alg", "kid", "x5c", "jwk", "crit", "b64"];
/// The claims that distribution reads.
const CLAIMS: &[&str] = &["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access"];
/// The members of an entry of `access` that distribution reads.
const ENTRY: &[&str] = &["type", "class", "name", "actions"];
/// Times that Go and crossmount read alike: from 1970 to the year 9999.
const TIMES: std::ops::RangeInclusive<i64> = 0..=253_402_300_799;

/// A token without ambiguity.
#[derive(Debug)]
pub(crate) struct CompactToken {
    pub header: TokenHeader,
    pub claims: TokenClaims,
}

/// The key that signed, and the algorithm.
#[derive(Debug)]
pub(crate) struct TokenHeader {
    pub algorithm: KeyName,
    pub key: KeyReference,
}

/// A header's members as they are.
#[derive(Deserialize)]
struct ObjectMembers {
    #[serde(default, rename = "typ")]
    _kind: Option<String>,
    #[serde(default, rename = "alg")]
    algorithm: Option<String>,
    #[serde(default, rename = "kid")]
    id: Option<String>,
    #[serde(default, rename = "x5c")]
    chain: Option<Vec<String>>,
    #[serde(default)]
    jwk: Option<Map<String, Value>>,
}

/// The algorithm of `alg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyName {
    /// One that the library supports.
    Known(Algorithm),
    /// One that distribution accepts and the library does not support.
    Unjudged,
    /// One that distribution does not accept.
    Unknown,
}

/// How a header names its key, in distribution's order of precedence.
#[derive(Debug)]
pub(crate) enum KeyReference {
    Chain(Vec<String>),
    Jwk(Map<String, Value>),
    Id(String),
    None,
}

/// The claims that distribution reads.
#[derive(Debug, Deserialize)]
pub(crate) struct TokenClaims {
    #[serde(default, rename = "iss")]
    pub issuer: Option<String>,
    #[serde(default, rename = "sub")]
    pub subject: Option<String>,
    #[serde(default, rename = "aud")]
    pub audience: Audience,
    #[serde(default, rename = "exp")]
    pub expires: Option<i64>,
    #[serde(default, rename = "nbf")]
    pub not_before: Option<i64>,
    #[serde(default, rename = "iat")]
    _issued_at: Option<i64>,
    #[serde(default, rename = "jti")]
    _id: Option<String>,
    #[serde(default)]
    pub access: Option<Vec<AccessEntry>>,
}

/// The services that a token is for.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Many(Vec<String>),
    #[default]
    Nobody,
}

/// A token's permissions on one resource.
#[derive(Debug, Deserialize)]
pub(crate) struct AccessEntry {
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    #[serde(default, rename = "class")]
    _class: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub actions: Option<Vec<String>>,
}

impl CompactToken {
    /// `None` for a malformed or ambiguous token.
    pub(crate) fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (header, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || token.len() > LONGEST {
            return None;
        }
        Some(Self {
            header: TokenHeader::read(parse_object(header)?)?,
            claims: TokenClaims::read(parse_object(claims)?)?,
        })
    }
}

fn parse_object(part: &str) -> Option<Map<String, Value>> {
    strict_json::parse_object(&URL_SAFE_NO_PAD.decode(part).ok()?)
}

impl TokenHeader {
    fn read(object: Map<String, Value>) -> Option<Self> {
        let is_odd = |key: &String| strict_json::folds_to_same_name(key, HEADER);
        if object.keys().any(is_odd) || object.contains_key("crit") || object.contains_key("b64") {
            return None;
        }
        let members: ObjectMembers = serde_json::from_value(Value::Object(object)).ok()?;
        let chain = members.chain.unwrap_or_default();
        let id = members.id.unwrap_or_default();
        let algorithm = members.algorithm.unwrap_or_default();
        Some(Self {
            algorithm: parse_key_name(&algorithm),
            key: match (chain.is_empty(), members.jwk, id.is_empty()) {
                (false, _, _) => KeyReference::Chain(chain),
                (true, Some(jwk), _) => KeyReference::Jwk(jwk),
                (true, None, false) => KeyReference::Id(id),
                (true, None, true) => KeyReference::None,
            },
        })
    }
}

fn parse_key_name(algorithm: &str) -> KeyName {
    match algorithm.parse() {
        Ok(known) => KeyName::Known(known),
        Err(_) if algorithm == "ES512" => KeyName::Unjudged,
        Err(_) => KeyName::Unknown,
    }
}

impl TokenClaims {
    fn read(object: Map<String, Value>) -> Option<Self> {
        let is_odd = |key: &String| strict_json::folds_to_same_name(key, CLAIMS);
        if object.keys().any(is_odd) || has_ambiguous_entry(object.get("access")) {
            return None;
        }
        let claims: Self = serde_json::from_value(Value::Object(object)).ok()?;
        let is_usual = |time: Option<i64>| time.is_none_or(|time| TIMES.contains(&time));
        (is_usual(claims.expires) && is_usual(claims.not_before)).then_some(claims)
    }
}

fn has_ambiguous_entry(access: Option<&Value>) -> bool {
    let Some(Value::Array(entries)) = access else {
        return false;
    };
    entries.iter().any(|entry| match entry {
        Value::Object(entry) => entry
            .keys()
            .any(|key| strict_json::folds_to_same_name(key, ENTRY)),
        _ => true,
    })
}
