//! crossmount stands in front of an existing container registry and answers cross-repository
//! mounts itself, by writing the layer link in the registry's shared filesystem store.
//! Everything else is the registry's own answer.
//!
//! # The life of a request
//!
//! ```text
//! accept ─ classify ─ authorise ─ locate ─ link ─ answer 201
//!              │          │          │       │
//!              └──────────┴──────────┴───────┴──── forward to the registry
//! ```
//!
//! | step | where | what |
//! |---|---|---|
//! | accept | [`http`] `listener`, `tls` | a connection becomes a request |
//! | classify | [`http`] `classify` | method, path and query become a [`mount::MountRequest`], or the request is the registry's |
//! | authorise | [`access`] | the caller's own credentials become an [`access::Grant`], or a refusal |
//! | locate | [`store`] `locate` | the source's link and the blob's data are looked for |
//! | link | [`store`] `link` | the grant's target gets its link, whole and durable |
//! | answer | [`http`] `location`, `respond` | the 201 that the registry would have written |
//! | forward | [`http`] `proxy`, `peer` | as it came, or without `mount` and `from` |
//!
//! [`mount`] joins these steps and knows why a mount is left to the registry. [`upstream`]
//! asks the registry and knows whether it may be written beside; [`http`] `passing` tells it
//! what the registry's own answers show. [`oci`] has names and digests that only parsing can
//! make, [`config`] a configuration that cannot contradict itself, [`outcome`] the words for how
//! a mount ends, [`metrics`] every metric, [`ops`] health, logs and the end of the process,
//! [`workers`] the threads for calls that block. [`serve`] and [`check`] are the two commands.

pub mod access;
pub mod check;
pub mod cli;
pub mod config;
pub mod http;
pub mod metrics;
pub mod mount;
pub mod oci;
pub mod ops;
pub mod outcome;
pub mod serve;
pub mod store;
pub mod upstream;
pub mod workers;
