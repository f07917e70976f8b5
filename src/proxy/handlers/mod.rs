//! Requests to which crossmount responds itself, or for which it sends the registry others first.
//!
//! | file | what |
//! |---|---|
//! | `link_mount` | mounts by links in the store |
//! | `native_mount` | mounts by the registry, and plain uploads in place of refused ones |
//! | `suggested_mount` | mounts by the registry from sources that the client does not know |
//! | `token_endpoint` | responses of the token endpoint, from the cache or with more scopes |
//! | `held_head` | holds a HEAD until another client has uploaded the layer |
//! | `client_wait` | ends a subrequest when its client disconnects |
//!
//! If a handler does not respond, `phases` forwards the request.

mod client_wait;
mod held_head;
pub(crate) mod link_mount;
pub(crate) mod native_mount;
pub(crate) mod suggested_mount;
pub(crate) mod token_endpoint;
