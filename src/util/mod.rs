//! Tools that know nothing of registries.
//!
//! | file | what |
//! |---|---|
//! | `blocking_pool` | threads for calls that block |
//! | `file_watch` | files that are reloaded when they change |
//! | `query` | a request's query, as Go decodes it |
//! | `ttl_cache` | a cache whose entries live for seconds |
//! | `fingerprint` | cache keys from which no credential can be read back |
//! | `reference_page` | tables of the documentation, for tests |
//!
//! What may be cached at all is decided by the caller.

pub(crate) mod blocking_pool;
pub(crate) mod file_watch;
pub(crate) mod fingerprint;
pub(crate) mod query;
#[cfg(test)]
pub(crate) mod reference_page;
mod ttl_cache;

pub(crate) use fingerprint::{Fingerprint, Fingerprints, NoRandomness};
pub use ttl_cache::{Entry, TtlCache};
