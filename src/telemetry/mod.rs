//! What operators measure and read: metrics, the outcome of each mount, log lines, and the
//! identifiers by which a request is found in the log and in traces.
//!
//! `metrics` declares every metric, `registration` puts them into the registry of metrics, and
//! `summary` has them as numbers for the page. `outcome` has the words for how a mount ends,
//! and `labels` those of other labels. `log` writes log lines, and `library_log` takes in those of the libraries. `request_id` and `trace`
//! identify a request. Nothing here decides anything about a request.

pub(crate) mod labels;
mod library_log;
mod log;
pub mod metrics;
pub mod outcome;
mod registration;
pub(crate) mod request_id;
pub(crate) mod summary;
pub(crate) mod trace;

pub use log::{LogLevel, LogWriter, init as init_log};
