//! The main job: mounts in front of a real registry, and what becomes of those that are left to it.

mod ambiguous_queries;
mod ambiguous_requests;
mod behind_proxies;
mod disk_errors;
mod durability;
mod empty_blob;
mod fallbacks;
mod links_written;
mod location;
mod mount_metrics;
mod other_requests;
mod registry_states;
mod syscall_errors;
mod syscalls;
mod wrong_store;
