//! The main job: mounts in front of a real registry, and what becomes of those that are left to it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../support/mod.rs"]
mod support;

mod answered;
mod behind_proxies;
mod counting;
mod durability;
mod empty_blob;
mod fallbacks;
mod faults;
mod foreign_stores;
mod link_faults;
mod location;
mod manners;
mod odd_queries;
mod odd_requests;
mod other_requests;
mod registry_states;
