//! Everything that knows HTTP and Pingora.
//!
//! In the order of a request: `listener` accepts, `tls` ends TLS, `client_stream` is what is written
//! to, `head` times the request's head, `proxy` holds the phases, `naming` gives the request its
//! name, `forwarding` says who stands behind whom, `classify` tells a mount from everything else,
//! `target` has the request line's target as it came, `framing` what the head says of the body.
//!
//! In front of distribution `handler` answers mounts; `location` and `respond` make the 201, and
//! `observer` learns from the registry's own answers (`refused_write` from a 405). In front of
//! other registries `handler` asks their own mount, and `suggestions` from where else.
//! `token_endpoint` answers from memory where the registry hands out tokens itself. `waiting` is
//! how they ask the registry first, and end with the client.
//!
//! `failure` words an answer that the registry could not give, and `account` counts and logs what
//! was done. Decisions about mounts are made in [`crate::mount`] and [`crate::native_mount`].

mod access_log;
mod context;
mod forwarded_headers;
mod framing;
mod handlers;
mod lingering_close;
pub(crate) mod location;
mod observe;
mod phases;
mod request_id;
pub(crate) mod request_target;
mod response;
pub(crate) mod route;
mod write_refusal;

pub use forwarded_headers::ForwardedHeaders;
pub use handlers::link_mount::LinkMountHandler;
pub use handlers::native_mount::NativeMountHandler;
pub use handlers::suggested_mount::SuggestedMounts;
pub use handlers::token_endpoint::TokenEndpointHandler;
pub use observe::ResponseObserver;
pub use phases::{MountStrategy, RegistryProxy};
