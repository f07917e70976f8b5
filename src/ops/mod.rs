//! What operators see: health, the admin port and its page, logs and the names of requests and
//! traces in them, how the process ends, and how many descriptors it may have.
//!
//! Metrics are declared in [`crate::metrics`], which every part uses. Nothing here decides
//! anything about a request.

mod admin;
pub mod descriptors;
mod drain;
mod health;
mod libraries;
mod log;
mod page;
mod request_id;
mod trace;

pub use admin::AdminService;
pub use drain::{Drain, InFlight};
pub use health::Health;
pub use log::{LogLevel, LogWriter, init as init_log};
pub use page::Page;
pub use request_id::RequestId;
pub use trace::Trace;
