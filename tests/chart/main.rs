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

mod alerts_and_dashboard;
mod compose;
mod configurations;
mod helm_install;
mod kustomize;
mod optional_parts;
mod other_charts;
mod pod_spec;
mod systemd;
mod values;
mod values_docs;
