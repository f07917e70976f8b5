//! What operators see: metrics, health, logs, and how the process ends.
//!
//! All metrics are declared in `metrics`. Nothing here decides anything about a request.

mod admin;
mod drain;
mod health;
mod log;
mod metrics;

pub use admin::Admin;
pub use drain::{Drain, InFlight};
pub use health::Health;
pub use log::init as init_log;
pub use metrics::Metrics;
