//! Real clients that push the same new layers at once, through two replicas.

use super::waiting;
use crate::{needs, support};
use serde_json::json;
use support::pushes_at_once::eight_skopeos_upload_a_new_base_once;
use support::redis::RedisServer;
use support::registry::Registry;
use support::sidecar::Sidecar;

#[test]
fn eight_skopeos_over_two_replicas_upload_a_new_base_once() {
    needs!("docker-registry", "skopeo", "redis-server");
    let (redis, registry) = (RedisServer::start(), Registry::start());
    registry
        .client()
        .upload("first/app", b"the first layer of the store");
    let replicas = [(); 2].map(|()| {
        let sidecar = Sidecar::with(&registry, |config| {
            config["access"] = json!({"mode": "none"});
            waiting(&redis.url(), "10s")(config);
        });
        sidecar.verify_store();
        sidecar
    });
    eight_skopeos_upload_a_new_base_once(&registry, &replicas);
}
