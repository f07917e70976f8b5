//! The chart and the other ways to deploy: taken by the real tools, held against schemas, and their
//! configurations run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../support/mod.rs"]
mod support;

mod compose;
mod configurations;
mod described;
mod elsewhere;
mod installed;
mod kustomize;
mod monitoring;
mod optional;
mod pod;
mod systemd;
mod values;
