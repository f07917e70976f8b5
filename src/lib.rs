//! crossmount stands in front of an existing container registry and answers cross-repository
//! mounts itself, by writing the layer link in the registry's shared filesystem store.
//! Everything else is the registry's own answer. In front of registries that keep their links in
//! a database it asks their own mount instead, and mends what they answer.
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
//! | locate | [`store`] `locate`, [`verify`] | the source's link and the blob's data are looked for, and whether its bytes were hashed, where that is wanted |
//! | link | [`store`] `link` | the grant's target gets its link, whole and durable |
//! | answer | [`http`] `location`, `respond` | the 201 that the registry would have written |
//! | forward | [`http`] `proxy`, [`upstream`] `peer` | as it came, or without `mount` and `from` |
//!
//! Where a client does not know the source, [`discovery`] suggests one. [`notifications`] tells
//! others of the mounts that the registry does not see.
//!
//! In front of other registries the way is shorter: [`http`] `mending` sends the mount to the
//! registry, [`native`] judges the answer, [`relay`] copies a layer that Pulp holds and does not
//! mount yet, and else a plain upload is started. [`tokens`] remembers answers of a registry's
//! own token endpoint.
//!
//! [`mount`] joins the steps above and knows why a mount is left to the registry. [`upstream`]
//! asks the registry and knows whether it may be written beside; [`http`] `passing` tells it
//! what the registry's own answers show. [`oci`] has names and digests that only parsing can
//! make, [`config`] a configuration that cannot contradict itself, [`outcome`] the words for how
//! a mount ends, [`memory`] answers that are remembered for seconds, [`metrics`] every
//! metric, [`ops`] health, the page to look at, logs and the end of the process,
//! [`workers`] the threads for calls that block, and `watched` reads files again that change. [`serve`], [`check`] and [`report`] are the commands.

pub mod access;
pub mod check;
pub mod cli;
pub mod config;
pub mod discovery;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
pub mod http;
#[cfg(feature = "micro")]
pub mod measured;
pub mod memory;
pub mod metrics;
pub mod mount;
pub mod native;
pub mod notifications;
pub mod oci;
pub mod ops;
pub mod outcome;
mod query;
pub mod relay;
pub mod report;
pub mod serve;
pub mod store;
pub mod tokens;
pub mod upstream;
pub mod verify;
mod watched;
pub mod workers;
