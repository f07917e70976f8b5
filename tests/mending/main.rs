//! In front of registries that mount themselves: Pulp, a real one, and any other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod discovered;
mod first_bytes;
mod generic;
mod ghosts;
mod mounts;
mod new_repositories;
mod passing;
mod relayed;
mod replayed;
mod rights;
mod suggested;
mod together;
mod tokens;
