//! The steps of a mount's path, each callable alone, for `benches/micro.rs`.
//!
//! Only that benchmark builds it (feature `micro`), because [`link`] checks no permission.

use http::request::Parts;

pub use crate::auth::PullScope;
pub use crate::auth::jwt::measured::Verifier;
pub use crate::discovery::{Discovery, SharedSources};
pub use crate::oci::{BlobRef, Digest, Patterns, RepositoryName};
pub use crate::store::{Filesystem, LinkResult, OpenStore, StoreError};
pub use crate::util::{Entry, Fingerprints, TtlCache};

use crate::auth::Grant;

/// Whether `classify` takes a request for an unambiguous mount.
pub fn is_mount(prefix: &str, target: &[u8], head: &Parts) -> bool {
    crate::proxy::route::measured::is_mount(prefix, target, head)
}

/// Links a layer into a repository without a check of permissions.
pub fn link(
    store: &OpenStore<'_>,
    target: &RepositoryName,
    digest: &Digest,
) -> Result<LinkResult, StoreError> {
    store.link(&Grant::for_test(target, target), digest, &|| true)
}
