//! Parts of a mount's way that are no one else's to call, for `benches/micro.rs`, which times each
//! alone.
//!
//! This is part of no build but that benchmark's (feature `micro`): [`link`] asks nobody whether
//! the caller may.

use http::request::Parts;

pub use crate::auth::jwt::measured::Verifier;

use crate::auth::Grant;
use crate::oci::{Digest, RepositoryName};
use crate::store::{LinkResult, OpenStore, StoreError};

/// Whether a request is a mount in the plain form.
#[must_use]
pub fn is_mount(prefix: &str, target: &[u8], head: &Parts) -> bool {
    crate::proxy::route::measured::is_mount(prefix, target, head)
}

/// Links a layer into a repository, as for a caller who may.
///
/// # Errors
/// As [`OpenStore::link`].
pub fn link(
    store: &OpenStore<'_>,
    target: &RepositoryName,
    digest: &Digest,
) -> Result<LinkResult, StoreError> {
    store.link(&Grant::for_test(target, target), digest, &|| true)
}
