//! Finds the trusted key with which a token says that it is signed.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::auth::jwt::parse::KeyReference;
use crate::auth::jwt::public_key::PublicKey;
use crate::auth::jwt::trust_store::{KeyMatch, TrustedKeys};
use crate::auth::jwt::x5c::{self, ValidityPeriod};
use crate::config::DistributionVersion;

/// Keys in the operator's files are valid while they are there.
const ALWAYS: ValidityPeriod = RangeInclusive::new(i64::MIN, i64::MAX);

/// The key that a token names.
#[derive(Debug)]
pub(crate) enum Signer {
    /// A trusted key, and when it is valid.
    Believed(PublicKey, ValidityPeriod),
    /// No trusted key.
    Nobody,
    /// Only the registry can decide.
    Unclear,
}

/// Finds the key as distribution does (`registry/auth/token/token.go`, `VerifySigningKey`); `now`
/// is in seconds since 1970.
pub(crate) fn find_signer(
    reference: &KeyReference,
    keys: &TrustedKeys,
    version: DistributionVersion,
    now: i64,
) -> Signer {
    match (reference, version) {
        (KeyReference::None, _) => Signer::Nobody,
        (KeyReference::Id(id), _) => require_key(keys.by_id(id)),
        (KeyReference::Chain(x5c), _) => match x5c::verify_chain(x5c, &keys.roots, now) {
            Some(leaf) => Signer::Believed(leaf.key, leaf.window),
            None => Signer::Unclear,
        },
        (KeyReference::Jwk(jwk), DistributionVersion::Two) => embedded_key(jwk, keys, now),
        (KeyReference::Jwk(jwk), DistributionVersion::Three) => named_key(jwk, keys, now),
    }
}

fn require_key(found: KeyMatch<'_>) -> Signer {
    match found {
        KeyMatch::Key(key) => Signer::Believed(key.clone(), ALWAYS),
        KeyMatch::Nothing => Signer::Nobody,
        KeyMatch::Unjudged => Signer::Unclear,
    }
}

/// In version 2 an embedded key must be trusted itself.
fn embedded_key(jwk: &Map<String, Value>, keys: &TrustedKeys, now: i64) -> Signer {
    let Some(key) = PublicKey::from_jwk(jwk) else {
        return Signer::Unclear;
    };
    if jwk.contains_key("x5c") {
        return by_chain(jwk, &key, keys, now);
    }
    match (keys.id_of(&key), jwk.get("kid")) {
        // libtrust ignores the private member of a curve's key, and fails at that of an RSA key.
        _ if jwk.contains_key("d") => Signer::Unclear,
        (Some(_), None) => Signer::Believed(key, ALWAYS),
        (Some(id), Some(Value::String(kid))) if kid == id => Signer::Believed(key, ALWAYS),
        (None, _) | (_, Some(Value::String(_))) => Signer::Nobody,
        _ => Signer::Unclear,
    }
}

/// In version 3 an embedded key without a chain counts only by its identifier.
fn named_key(jwk: &Map<String, Value>, keys: &TrustedKeys, now: i64) -> Signer {
    let Some(key) = PublicKey::from_jwk(jwk) else {
        return Signer::Unclear;
    };
    if jwk.contains_key("x5c") {
        return by_chain(jwk, &key, keys, now);
    }
    match jwk.get("kid") {
        Some(Value::String(id)) if !id.is_empty() => require_key(keys.by_id(id)),
        _ => Signer::Unclear,
    }
}

fn by_chain(jwk: &Map<String, Value>, key: &PublicKey, keys: &TrustedKeys, now: i64) -> Signer {
    // libtrust refuses an identifier that is not the key's own, and private members.
    if jwk.contains_key("kid") || jwk.contains_key("d") {
        return Signer::Unclear;
    }
    let x5c = jwk.get("x5c").cloned().unwrap_or_default();
    let x5c: Vec<String> = serde_json::from_value(x5c).unwrap_or_default();
    match x5c::verify_chain(&x5c, &keys.roots, now) {
        Some(leaf) if leaf.key == *key => Signer::Believed(leaf.key, leaf.window),
        _ => Signer::Unclear,
    }
}
