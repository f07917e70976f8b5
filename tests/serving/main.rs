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
mod client_certificates;
mod dual_stack;
mod early_answers;
mod ending;
mod health;
mod http2;
mod monitoring;
mod notified;
mod page;
mod page_in_a_browser;
mod passing;
mod reloading;
mod reporting;
mod request_log;
mod schemes;
mod self_signed;
mod settings;
mod startup;
mod streaming;
mod tls_and_sockets;
mod traces;
mod versions;
