//! Layers that a client does not know to be there: found for it, and for nobody who may not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod deleted;
mod dry_run;
mod heads;
mod learned;
mod new_repositories;
mod proofs;
mod quiet;
mod same_face;
mod sources;
mod walked;
