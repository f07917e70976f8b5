//! Layers that a client does not know to be there: found for it, and for nobody who may not.

mod client_programs;
mod dry_run;
mod head_requests;
mod index;
mod information_leaks;
mod log_noise;
mod new_repositories;
mod redis;
mod source_permissions;
mod sources;
mod store_scan;
mod store_search;
mod tombstones;
pub mod wait_for_uploads;
