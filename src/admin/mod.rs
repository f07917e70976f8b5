//! The admin port: health, metrics, and a page that shows what crossmount does.
//!
//! `service` responds to requests, `health` checks liveness and readiness, `page` renders the page
//! and `status` holds what it shows. Metrics are declared in [`crate::telemetry::metrics`]. Nothing
//! here decides anything about a request for the registry.

mod health;
mod page;
mod service;
mod status;

pub(crate) use health::Health;
pub(crate) use page::Page;
pub(crate) use service::AdminService;
