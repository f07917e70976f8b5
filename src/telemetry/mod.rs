//! What operators measure and read: metrics, outcomes, log lines, and identifiers of requests.
//!
//! | file | what |
//! |---|---|
//! | `metrics`, `registration` | declare every metric, and register it |
//! | `summary`, `latency` | metrics as numbers for the page |
//! | `outcome`, `labels` | the values of a mount's labels, and of all others |
//! | `log`, `library_log` | log lines of crossmount, and of libraries |
//! | `log_messages`, `reference` | hold the documentation to the code, in tests |
//! | `request_id`, `trace` | identify a request in the log and in traces |
//!
//! Nothing here decides anything about a request.

pub(crate) mod labels;
pub(crate) mod latency;
mod library_log;
mod log;
#[cfg(test)]
mod log_messages;
pub mod metrics;
pub mod outcome;
#[cfg(test)]
mod reference;
mod registration;
pub(crate) mod request_id;
pub(crate) mod summary;
pub(crate) mod trace;

pub use log::{LogLevel, LogWriter, init as init_log};
