//! Discovery in a sidecar's configuration, and the scan of the store that it begins with.

use super::registry::Registry;
use super::sidecar::Sidecar;
use super::wait_until;
use serde_json::{Value, json};

/// Any repository may be a source, of a HEAD too.
pub fn discover_on_head(config: &mut Value) {
    config["discovery"] = json!({"enabled": true, "on_head": true, "sources": "any"});
}

impl Sidecar {
    /// In front of this registry without access control, with [`discover_on_head`] and the store
    /// verified.
    pub fn with_discovery(registry: &Registry) -> Self {
        let sidecar = Self::with(registry, discover_on_head);
        sidecar.verify_store();
        sidecar
    }

    /// Waits until the store has been scanned once.
    #[track_caller]
    pub fn wait_for_scan(&self) {
        wait_until("the store is scanned", || {
            self.metric("crossmount_store_scan_last_success_timestamp_seconds", &[]) > 0.0
        });
    }
}
