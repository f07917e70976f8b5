//! HTTP: the phases of a request, from its head to the log line.
//!
//! In the order of a request:
//!
//! | file | what |
//! |---|---|
//! | `phases` | Pingora's phases; the place to begin to read |
//! | `registry_proxy` | what the proxy holds, and who handles a request before it is forwarded |
//! | `context` | the state of one request between its phases |
//! | `framing`, `request_target` | heads that two readers could take differently |
//! | `request_id`, `forwarded_headers` | headers that crossmount adds to a request |
//! | `route` | classifies a request by its head |
//! | `handlers` | respond to mounts and token requests, or send the registry requests first |
//! | `response`, `location` | crossmount's own responses, such as the 201 as distribution writes it |
//! | `observe`, `write_refusal` | what the registry's own responses show |
//! | `access_log` | counts and logs a request once |
//! | `upload_parts` | the requests of uploads for which HEADs may wait |
//! | `resend` | whether a request is sent again |
//! | `body_progress` | what of a body was seen, if it is sent again |
//! | `lingering_close` | reads the rest of a body after an early response |
//!
//! Connections are not here but in [`crate::server`]. Decisions about mounts are made in
//! [`crate::mount`] and [`crate::native_mount`], which know no HTTP.

mod access_log;
mod body_progress;
mod context;
mod forwarded_headers;
mod framing;
mod handlers;
mod lingering_close;
pub(crate) mod location;
mod observe;
mod phases;
mod registry_proxy;
mod request_id;
pub(crate) mod request_target;
mod resend;
mod response;
pub(crate) mod route;
mod upload_parts;
mod write_refusal;

pub(crate) use forwarded_headers::ForwardedHeaders;
pub(crate) use handlers::link_mount::LinkMountHandler;
pub(crate) use handlers::native_mount::NativeMountHandler;
pub(crate) use handlers::suggested_mount::SuggestedMounts;
pub(crate) use handlers::token_endpoint::TokenEndpointHandler;
pub(crate) use observe::ResponseObserver;
pub(crate) use registry_proxy::{MountStrategy, RegistryProxy};
