//! The admin port: health, metrics, and a page that shows what crossmount does.
//!
//! | file | what |
//! |---|---|
//! | `service` | responds to requests |
//! | `drained` | lets a preStop hook wait until the registry may end |
//! | `health` | checks liveness and readiness |
//! | `status` | gathers the figures of `/status.json` |
//! | `page` | the files of the page, which draws `/status.json` |
//!
//! Metrics are declared in [`crate::telemetry::metrics`]. Nothing here decides anything about a
//! request for the registry.

mod drained;
mod health;
mod page;
mod service;
mod status;

pub(crate) use drained::Drained;
pub(crate) use health::Health;
pub(crate) use service::AdminService;
pub(crate) use status::StatusSource;
