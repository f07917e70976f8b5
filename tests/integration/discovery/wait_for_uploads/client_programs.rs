//! Real clients that push the same new layers at once.

use super::waiting;
use crate::{needs, support};
use serde_json::json;
use support::pushes_at_once::eight_skopeos_upload_a_new_base_once;
use support::registry::Registry;
use support::sidecar::Sidecar;

#[test]
fn eight_skopeos_upload_a_new_base_to_a_filesystem_once() {
    needs!("docker-registry", "skopeo");
    let registry = Registry::start();
    registry
        .client()
        .upload("first/app", b"the first layer of the store");
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "none"});
        waiting(config, "50s");
    });
    sidecar.verify_store();
    eight_skopeos_upload_a_new_base_once(&registry, &[sidecar]);
}
