//! The process: from its configuration to its end, and everything that passes through it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../support/mod.rs"]
mod support;

mod broken_streams;
mod checking;
mod dual_stack;
mod ending;
mod health;
mod monitoring;
mod notified;
mod page;
mod page_in_a_browser;
mod passing;
mod reloading;
mod reporting;
mod request_log;
mod schemes;
mod settings;
mod startup;
mod streaming;
mod tls_and_sockets;
mod traces;
