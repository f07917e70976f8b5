//! The steps of a mount's path, each callable alone, for `benches/micro.rs`.
//!
//! Only that benchmark builds it (feature `micro`), because [`link`] checks no permission.

use http::request::Parts;

pub use crate::auth::usage::PullScope;
pub use crate::discovery::{CallerRights, Discovery, SharedSources};
pub use crate::oci::{BlobRef, Digest, Patterns, RepositoryName};
pub use crate::store::{Filesystem, LinkResult, OpenStore, StoreError};
pub use crate::util::fingerprint::Fingerprints;
pub use crate::util::{Entry, TtlCache};

use crate::auth::Grant;
use crate::auth::jwt::claims_check::UnverifiedToken;
use crate::auth::jwt::trust_store::TrustedKeys;
use crate::auth::jwt::{claims_check, signature};
use crate::config::{DistributionVersion, TokenRules};
use crate::proxy::route::{Route, classify};

/// Links a layer into a repository without a check of permissions.
pub fn link(
    store: &OpenStore<'_>,
    target: &RepositoryName,
    digest: &Digest,
) -> Result<LinkResult, StoreError> {
    store.link(&Grant::for_test(target, target), digest, &|| true)
}

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
            .is_ok_and(|verified| claims_check::covers_request(&verified.claims, target, source))
    }
}

/// Whether a request is an unambiguous mount.
pub fn is_mount(prefix: &str, target: &[u8], head: &Parts) -> bool {
    matches!(classify(prefix, target, head), Route::Mount(_))
}
