//! Never worse than the registry alone: what happens when everything around the sidecar fails.
//!
//! Each test has a short form, which every run makes, and a long one, which `./tests/run.sh
//! --full` makes; what was tried, how often, and what happened is noted for `tests/FAULTS.md`.

mod crash_aftermath;
mod crash_harness;
mod crashes;
mod damaged_blobs;
mod dependencies;
mod expect_continue;
mod faults_table;
mod gluster_hosts;
mod held_collector;
mod hung_store;
mod many_connections;
mod mount_load;
mod observed_response;
mod other_protocols;
mod pipelining;
mod power_cut_aftermath;
mod power_cut_filesystems;
mod power_cut_findings;
mod power_cut_harness;
mod power_cut_images;
mod power_cuts;
mod protocol_upgrades;
mod race_collection_while_writable;
mod race_deletion;
mod race_garbage_collection;
mod size_limits;
mod slow_bodies;
mod slow_headers;
mod smuggling_responses;
mod smuggling_upstream_requests;
mod steady_state;
mod storage_hung;
mod storage_refusing;
mod storage_shared;
mod storage_unmounted;
mod subrequests;
mod sustained_load;
mod torn_manifests;
mod upstream_failures;
mod upstream_keepalive;
mod upstream_load;
mod upstream_matrix;
mod upstream_restarts;
mod upstream_silence;
mod upstream_surplus_bytes;
mod volume;
