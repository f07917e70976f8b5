//! In front of registries that mount themselves: Pulp, a real one, and any other.

mod blob_copy;
mod client_programs;
mod concurrency;
mod discovery_with_pulp;
mod first_byte_check;
mod generic_registry;
mod missing_data;
mod new_repositories;
mod passthrough;
mod permissions;
mod pulp_mount;
mod recorded_pushes;
mod registry_writer;
mod slow_registry;
mod suggested_mount;
mod token_cache;
mod wait_for_uploads;
mod wait_with_pulp;
