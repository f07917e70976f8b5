//! Checks a token: issuer, audience, times, signature, and at last the permissions in its claims.

use std::time::{Duration, Instant};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde::de::IgnoredAny;

use crate::auth::decision::LocalDecision;
use crate::auth::jwt::key_lookup::{Signer, find_signer};
use crate::auth::jwt::parse::{
    AccessEntry, Audience, CompactToken, KeyName, KeyReference, TokenClaims,
};
use crate::auth::jwt::public_key::PublicKey;
use crate::auth::jwt::trust_store::TrustedKeys;
use crate::auth::jwt::x5c::ValidityPeriod;
use crate::config::{DistributionVersion, TokenRules};
use crate::oci::RepositoryName;

/// How far clocks may differ (`Leeway`), in seconds. Within it only the registry decides whether a
/// token is valid: its clock may differ, and nothing is decided here past a token's expiry.
const LEEWAY: i64 = 60;

/// A token whose signature, issuer and audience are verified.
#[derive(Debug)]
pub(crate) struct VerifiedToken {
    pub claims: TokenClaims,
    /// When its key is valid.
    window: ValidityPeriod,
}

/// A token whose claims are right, and whose signature is not verified yet.
#[derive(Debug)]
pub(crate) struct UnverifiedToken {
    compact: CompactToken,
    algorithm: Algorithm,
}

impl UnverifiedToken {
    /// Makes all checks that cost little; `now` is in seconds since 1970.
    pub(crate) fn read(token: &str, rules: &TokenRules, now: i64) -> Result<Self, LocalDecision> {
        let compact = CompactToken::read(token).ok_or(LocalDecision::Unknown)?;
        let algorithm = parse_claims(compact.header.algorithm, rules)?;
        let claims = &compact.claims;
        if claims.issuer.as_deref() != Some(&rules.issuer)
            || !is_for_service(&claims.audience, rules)
        {
            return Err(LocalDecision::Denied);
        }
        claims.are_timely(now)?;
        Ok(Self { compact, algorithm })
    }

    /// Whether certificates may have to be checked, which any client can make costly.
    pub(crate) fn has_chain(&self) -> bool {
        match &self.compact.header.key {
            KeyReference::Chain(_) => true,
            KeyReference::Jwk(jwk) => jwk.contains_key("x5c"),
            KeyReference::Id(_) | KeyReference::None => false,
        }
    }

    /// Verifies the signature by a trusted key.
    pub(crate) fn verify(
        self,
        token: &str,
        version: DistributionVersion,
        keys: &TrustedKeys,
        now: i64,
    ) -> Result<VerifiedToken, LocalDecision> {
        let CompactToken { header, claims } = self.compact;
        match find_signer(&header.key, keys, version, now) {
            Signer::Believed(key, window) => {
                check(token, &key, self.algorithm)?;
                Ok(VerifiedToken { claims, window })
            }
            Signer::Nobody => Err(LocalDecision::Denied),
            Signer::Unclear => Err(LocalDecision::Unknown),
        }
    }
}

/// The algorithm, if the registry accepts it and the library supports it.
fn parse_claims(named: KeyName, rules: &TokenRules) -> Result<Algorithm, LocalDecision> {
    let narrowed = &rules.algorithms;
    let is_listed =
        |name: &str| narrowed.is_empty() || narrowed.iter().any(|listed| listed == name);
    let algorithm = match named {
        KeyName::Known(algorithm) => algorithm,
        KeyName::Unjudged if is_listed("ES512") => return Err(LocalDecision::Unknown),
        KeyName::Unjudged | KeyName::Unknown => return Err(LocalDecision::Denied),
    };
    let is_taken = match algorithm {
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::ES256
        | Algorithm::ES384 => true,
        Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 | Algorithm::EdDSA => {
            rules.version == DistributionVersion::Three
        }
        _ => false,
    };
    if is_taken && is_listed(&format!("{algorithm:?}")) {
        Ok(algorithm)
    } else {
        Err(LocalDecision::Denied)
    }
}

fn is_for_service(audience: &Audience, rules: &TokenRules) -> bool {
    let service = &rules.service;
    match (audience, rules.version) {
        (Audience::One(one), _) => one == service,
        (Audience::Many(all), DistributionVersion::Three) => all.contains(service),
        (Audience::Many(_), DistributionVersion::Two) | (Audience::Nobody, _) => false,
    }
}

impl TokenClaims {
    fn are_timely(&self, now: i64) -> Result<(), LocalDecision> {
        let Some(expires) = self.expires else {
            return Err(LocalDecision::Denied);
        };
        let begins = self.not_before.unwrap_or(0);
        if now > expires + LEEWAY || now < begins - LEEWAY {
            return Err(LocalDecision::Denied);
        }
        if now >= expires || now < begins {
            return Err(LocalDecision::Unknown);
        }
        Ok(())
    }
}

impl VerifiedToken {
    /// Whether it is still valid.
    pub(crate) fn is_valid_at(&self, now: i64) -> Result<(), LocalDecision> {
        self.claims.are_timely(now)?;
        if self.window.contains(&now) {
            Ok(())
        } else {
            Err(LocalDecision::Unknown)
        }
    }

    /// The time until the token or its chain expires.
    pub(crate) fn lifetime(&self, now: i64) -> Duration {
        let end = self.claims.expires.unwrap_or(now).min(*self.window.end());
        Duration::from_secs(u64::try_from(end.saturating_sub(now)).unwrap_or(0))
    }

    /// When it expires; `None` if that is beyond any clock.
    pub(crate) fn expires_at(&self, now: i64) -> Option<Instant> {
        Instant::now().checked_add(self.lifetime(now))
    }
}

fn check(token: &str, key: &PublicKey, algorithm: Algorithm) -> Result<(), LocalDecision> {
    if !key.signs(algorithm) {
        return Err(LocalDecision::Denied);
    }
    // Issuer, audience and times are checked by distribution's rules, which differ.
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    match jsonwebtoken::decode::<IgnoredAny>(token, &key.decoding_key(), &validation) {
        Ok(_) => Ok(()),
        Err(error) => Err(match (error.kind(), algorithm) {
            // Distribution accepts salts of any length.
            (_, Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512) => LocalDecision::Unknown,
            (ErrorKind::InvalidSignature, _) => LocalDecision::Denied,
            _ => LocalDecision::Unknown,
        }),
    }
}

/// Whether a token has a mount's permissions: pull and push on the target, pull on the source.
///
/// Entries of one name are united, names are exact, and `*` is every action
/// (`registry/auth/token/token.go`, `accessSet`).
pub(crate) fn covers_request(
    claims: &TokenClaims,
    target: &RepositoryName,
    source: &RepositoryName,
) -> bool {
    allows_action(claims, target, "pull")
        && allows_action(claims, target, "push")
        && allows_action(claims, source, "pull")
}

fn allows_action(claims: &TokenClaims, repository: &RepositoryName, action: &str) -> bool {
    let entries = claims.access.iter().flatten();
    let is_it = |entry: &&AccessEntry| {
        entry.kind.as_deref() == Some("repository")
            && entry.name.as_deref() == Some(repository.as_str())
    };
    entries
        .filter(is_it)
        .flat_map(|entry| entry.actions.iter().flatten())
        .any(|listed| listed == action || listed == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_signature_is_no_longer_good_when_its_chain_is() {
        let claims = serde_json::json!({"exp": 10_000});
        let verified = VerifiedToken {
            claims: serde_json::from_value(claims).unwrap(),
            window: 1_000..=2_000,
        };
        for (now, wanted) in [
            (999, Err(LocalDecision::Unknown)),
            (1_000, Ok(())),
            (2_000, Ok(())),
            (2_001, Err(LocalDecision::Unknown)),
        ] {
            assert_eq!(verified.is_valid_at(now), wanted, "{now}");
        }
    }
}
