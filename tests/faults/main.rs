//! Never worse than the registry alone: what happens when everything around the sidecar fails.
//!
//! Each test has a short form, which every run makes, and a long one, which `./tests/run.sh
//! --full` makes; what was tried, how often, and what happened is noted for `tests/FAULTS.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod crashed;
mod crashes;
mod crashing;
mod damaged;
mod expectations;
mod hanging;
mod load;
mod many_connections;
mod odd_forms;
mod pipelined;
mod races_broken_rules;
mod races_collection;
mod races_collector;
mod races_deletion;
mod races_mounts;
mod sizes;
mod slow_bodies;
mod slow_clients;
mod smuggling_alike;
mod smuggling_seen;
mod steady;
mod storage_hung;
mod storage_refusing;
mod storage_shared;
mod storage_unmounted;
mod supply;
mod table;
mod upgrades;
mod upstream_kept;
mod upstream_kinds;
mod upstream_load;
mod upstream_matrix;
mod upstream_questions;
mod upstream_restarts;
mod upstream_seen;
mod upstream_silence;
mod upstream_surplus;
mod volume;
