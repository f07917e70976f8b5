//! The real binary in front of real registries: one crate, so that the shared helpers in `support`
//! are compiled once. `tests/run.sh` chooses modules by their names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod support;

mod access;
mod chart;
mod clients;
mod discovery;
mod faults;
mod fresh_runners;
mod mounts;
mod native_mount;
mod object_store;
mod parts;
mod pod;
mod serving;
