//! The admin port: health, metrics, and a page that shows what crossmount does.
//!
//! `service` answers its requests, `health` knows whether the process is alive and ready, `page`
//! renders the page and `status` what it shows. Metrics are declared in
//! [`crate::telemetry::metrics`]. Nothing here decides anything about a request for the registry.

mod health;
mod page;
mod service;
mod status;

pub use health::Health;
pub use page::Page;
pub use service::AdminService;
