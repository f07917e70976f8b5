//! Tools that know nothing of registries: threads for calls that block, files that are read again
//! when they change, a request's query, and a cache whose entries live for seconds.
//!
//! `fingerprint` makes cache keys from which no credential can be read back. What may be cached at
//! all is decided by the caller.

pub mod blocking_pool;
pub(crate) mod file_watch;
mod fingerprint;
pub(crate) mod query;
mod ttl_cache;

pub use fingerprint::{Fingerprint, Fingerprints, NoRandomness};
pub use ttl_cache::{Entry, TtlCache};
