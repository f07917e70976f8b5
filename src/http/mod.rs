//! Everything that knows HTTP and Pingora.
//!
//! In the order of a request: `listener` accepts, `tls` ends TLS, `proxy` holds the phases,
//! `naming` gives the request its name, `forwarding` says who stands behind whom, `classify` (with `query`) tells a mount from
//! everything else, `target` has the request line's target as it came, `location` and `respond`
//! make the 201, `peer` connects upstream, `passing` learns from the registry's own answers
//! (`refused_write` from a 405),
//! `failure` words an answer that the registry could not give, and `account` counts and logs what
//! was done. Decisions about mounts are made in [`crate::mount`].

mod account;
mod classify;
mod context;
mod failure;
mod forwarded;
mod forwarding;
mod listener;
mod location;
mod naming;
mod passing;
mod peer;
mod proxy;
mod query;
mod refused_write;
mod respond;
mod target;
mod tls;

pub use forwarding::Forwarding;
pub use listener::{Bound, ListenError, bind, serve};
pub use location::Locations;
pub use passing::Passing;
pub use proxy::RegistryProxy;
pub use tls::{TlsFault, load as load_tls};
