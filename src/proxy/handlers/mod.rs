//! Requests that crossmount answers itself, or about which it asks the registry first.
//!
//! `link_mount` answers mounts by links in the store, `native_mount` by the registry's own mount,
//! `suggested_mount` finds a source that the client does not know, and `token_endpoint` answers
//! from the token cache. `client_wait` ends a question to the registry with its client. What a
//! handler does not answer, `phases` forwards.

mod client_wait;
pub(crate) mod link_mount;
pub(crate) mod native_mount;
pub(crate) mod suggested_mount;
pub(crate) mod token_endpoint;
