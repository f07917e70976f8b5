//! Everything that knows HTTP and Pingora.
//!
//! In the order of a request: `listener` accepts, `tls` ends TLS, `client_stream` is what is written
//! to, `head` times the request's head, `proxy` holds the phases, `naming` gives the request its
//! name, `forwarding` says who stands behind whom, `classify` tells a mount from everything else,
//! `target` has the request line's target as it came, `framing` what the head says of the body.
//!
//! In front of distribution `linking` answers mounts; `location` and `respond` make the 201, and
//! `passing` learns from the registry's own answers (`refused_write` from a 405). In front of
//! other registries `mending` asks their own mount, and `suggesting` from where else.
//! `token_endpoint` answers from memory where the registry hands out tokens itself. `waiting` is
//! how they ask the registry first, and end with the client.
//!
//! `failure` words an answer that the registry could not give, and `account` counts and logs what
//! was done. Decisions about mounts are made in [`crate::mount`] and [`crate::native`].

mod absolute_target;
mod account;
mod classify;
mod client_stream;
mod context;
mod failure;
mod forwarded;
mod forwarding;
mod framing;
mod head;
mod http2;
mod lingering_close;
mod linking;
mod listener;
mod location;
mod mending;
mod naming;
mod passing;
mod plain_on_tls;
mod proxy;
mod refused_write;
mod respond;
mod suggesting;
mod target;
mod tls;
mod token_endpoint;
mod waiting;

#[cfg(any(test, fuzzing))]
pub(crate) use classify::fuzzed::classify as fuzzed_requests;
#[cfg(feature = "micro")]
pub(crate) use classify::measured::is_mount as measured_is_mount;
pub use forwarding::ForwardedHeaders;
pub use http2::allow_http2;
pub use linking::LinkMountHandler;
pub use listener::{BoundListener, ListenError, RequestHandlers, bind, serve};
pub use location::Locations;
#[cfg(any(test, fuzzing))]
pub(crate) use location::fuzzed::locations as fuzzed_locations;
pub use mending::NativeMountHandler;
pub use passing::ResponseObserver;
pub use proxy::{MountStrategy, RegistryProxy};
pub use suggesting::SuggestedMounts;
pub use tls::{ListenerTls, TlsError, check as check_tls};
pub use token_endpoint::TokenEndpointHandler;
