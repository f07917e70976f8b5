//! Everything that knows HTTP and Pingora.
//!
//! In the order of a request: `listener` accepts, `tls` ends TLS, `proxy` holds the phases,
//! `naming` gives the request its name, `forwarding` says who stands behind whom, `classify` tells
//! a mount from everything else, `target` has the request line's target as it came.
//!
//! In front of distribution `linking` answers mounts; `location` and `respond` make the 201, and
//! `passing` learns from the registry's own answers (`refused_write` from a 405). In front of
//! other registries `mending` asks their own mount. `token_endpoint` answers from memory where
//! the registry hands out tokens itself.
//!
//! `failure` words an answer that the registry could not give, and `account` counts and logs what
//! was done. Decisions about mounts are made in [`crate::mount`] and [`crate::native`].

mod account;
mod classify;
mod context;
mod failure;
mod forwarded;
mod forwarding;
mod linking;
mod listener;
mod location;
mod mending;
mod naming;
mod passing;
mod proxy;
mod refused_write;
mod respond;
mod target;
mod tls;
mod token_endpoint;

/// Waits until the client closes its connection, or sends what nobody asked for; then its request
/// is over, as for one that passes through. For requests without a body.
async fn client_left(session: &mut pingora::proxy::Session) -> Box<pingora::Error> {
    loop {
        if let Err(error) = session.as_downstream_mut().read_body_or_idle(true).await {
            return error.into_down();
        }
    }
}

pub use forwarding::Forwarding;
pub use linking::Linking;
pub use listener::{Bound, ListenError, bind, serve};
pub use location::Locations;
pub use mending::Mending;
pub use passing::Passing;
pub use proxy::{RegistryProxy, Way};
pub use tls::{TlsFault, load as load_tls};
pub use token_endpoint::TokenEndpoint;
