//! crossmount is a sidecar in front of an existing container registry. It responds to
//! cross-repository mounts itself, by writing the layer link in the registry's filesystem store.
//! Every other request is forwarded. In front of registries that keep their links in a database,
//! the registry itself mounts. crossmount replaces refusals that break clients by a plain upload.
//!
//! # The life of a request
//!
//! ```text
//! accept ─ classify ─ authorize ─ look up ─ link ─ respond 201
//!              │          │          │       │
//!              └──────────┴──────────┴───────┴──── forward to the registry
//! ```
//!
//! | step | where | what |
//! |---|---|---|
//! | accept | [`server`] `listener`, `tls`, `header_timeout` | a connection becomes a request |
//! | classify | [`proxy`] `route` | method, path and query become a [`mount::MountRequest`], or the request is forwarded |
//! | authorize | [`auth`] | the caller's own credentials become an [`auth::Grant`], or a denial |
//! | look up | [`store`] `lookup`, [`verify`] | the source's link and the blob's data exist, and the data has its digest if the operator wants that |
//! | link | [`store`] `link` | the grant's target gets its link, whole and durable |
//! | respond | [`proxy`] `location`, `response` | the 201 that the registry would have written |
//! | forward | [`proxy`] `phases`, [`upstream`] `peer` | as it came, or without `mount` and `from` |
//!
//! Begin to read at [`proxy`] `phases`: it has these steps in their order.
//!
//! If the client does not know a source, [`discovery`] suggests one. [`notifications`] sends the
//! registry's webhooks for mounts that the registry does not see.
//!
//! In front of other registries the path is shorter. [`proxy`] `handlers` sends the mount to the
//! registry, and [`native_mount`] decides by the response. [`blob_copy`] copies a layer that Pulp
//! holds and does not mount yet. If nothing is mounted, a plain upload is started. [`token_cache`]
//! caches responses of a registry's own token endpoint.
//!
//! # The other parts
//!
//! | part | what |
//! |---|---|
//! | [`mount`] | joins the steps from authorize to link, with a reason for every mount that is forwarded |
//! | [`upstream`] | sends crossmount's own requests to the registry, and knows whether it is writable |
//! | [`oci`] | names and digests that only parsing can make |
//! | [`config`] | a configuration that cannot contradict itself |
//! | [`telemetry`] | metrics, outcomes, log lines and trace identifiers |
//! | [`admin`] | the admin port: health, metrics and the page |
//! | [`util`] | threads for blocking calls, files that are reloaded, caches |
//! | [`mod@server`], [`check`], [`report`] | the commands; [`cli`] reads their arguments |
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the map of the crate links to all of its parts; cargo doc --document-private-items shows them"
)]

mod admin;
mod auth;
#[cfg(feature = "micro")]
pub mod bench_api;
mod blob_copy;
pub mod check;
pub mod cli;
pub mod config;
mod discovery;
#[cfg(any(test, fuzzing))]
pub mod fuzz_targets;
mod mount;
mod native_mount;
mod notifications;
mod oci;
mod proxy;
pub mod report;
pub mod server;
mod store;
pub mod telemetry;
mod token_cache;
mod upstream;
mod util;
mod verify;
