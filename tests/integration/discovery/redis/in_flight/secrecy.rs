//! No credential is in Redis while uploads are in flight.

use super::{LAYER, Leader, waiting};
use crate::{needs, support};
use serde_json::json;
use support::redis::{KEY, RedisServer};
use support::registry::Registry;
use support::secret_search::Secrets;
use support::sidecar::Sidecar;
use support::wait_until;

#[test]
fn credentials_are_in_no_value_of_an_upload() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let password = "the long password of alice";
    let registry = Registry::with_htpasswd(&[("alice", password)]);
    for has_key in [true, false] {
        let redis = RedisServer::start();
        let mut secrets = Secrets::default();
        secrets.keep(KEY);
        let sidecar = Sidecar::with(&registry, |config| {
            config["access"] = json!({"mode": "upstream"});
            waiting(&redis.url(), "30s")(config);
            if !has_key {
                config["discovery"]["redis"]["fingerprint_key"] = json!(null);
            }
        });
        let client = secrets.basic(sidecar.port, "alice", password);
        sidecar.verify_store_as(&client);
        let layer = [LAYER, &[u8::from(has_key)]].concat();
        let leader = Leader::begins(client, "leader/app", &layer);
        let digest = support::digest_of(&layer);
        wait_until("the upload is published", || {
            let told = redis.flights(&digest);
            told.len() == 1 && told[0].starts_with("uploading ")
        });
        let told = redis.flights(&digest);
        let login = told[0].split(' ').nth(6).unwrap();
        assert_eq!(login.len(), if has_key { 64 } else { 1 }, "{told:?}");
        secrets.are_not_in(&told[0]);
        drop(redis.connect());
        secrets.are_not_in(&String::from_utf8_lossy(&redis.everything()));
        leader.breaks_off();
    }
}
