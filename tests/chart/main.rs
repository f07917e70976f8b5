//! The chart: rendered by real helms, held against schemas, and its configurations run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../support/mod.rs"]
mod support;

mod configurations;
mod elsewhere;
mod kustomize;
mod monitoring;
mod optional;
mod pod;
mod values;
