//! The verification of tokens alone, for the benchmark.

use crate::auth::jwt::claims_check::UnverifiedToken;
use crate::auth::jwt::trust_store::TrustedKeys;
use crate::auth::jwt::{permissions, signature};
use crate::config::{DistributionVersion, TokenRules};
use crate::oci::RepositoryName;

/// Verifies tokens by one set of keys, without a cache.
#[derive(Debug)]
pub struct Verifier {
    rules: TokenRules,
    keys: TrustedKeys,
}

impl Verifier {
    /// Accepts tokens of an issuer for a service, signed by one of these keys.
    pub fn new(issuer: &str, service: &str, key_set: &[u8]) -> Result<Self, String> {
        signature::install();
        let mut keys = TrustedKeys::default();
        keys.add_key_set(key_set)?;
        let rules = TokenRules {
            issuer: issuer.to_owned(),
            service: service.to_owned(),
            root_certificates: None,
            jwks: None,
            algorithms: Vec::new(),
            version: DistributionVersion::Three,
        };
        Ok(Self { rules, keys })
    }

    /// Whether a token's bearer may mount from one repository into another, at a time in seconds
    /// since 1970.
    pub fn allows(
        &self,
        token: &str,
        target: &RepositoryName,
        source: &RepositoryName,
        now: i64,
    ) -> bool {
        UnverifiedToken::read(token, &self.rules, now)
            .and_then(|claimed| claimed.verify(token, self.rules.version, &self.keys, now))
            .is_ok_and(|verified| permissions::covers_request(&verified.claims, target, source))
    }
}
