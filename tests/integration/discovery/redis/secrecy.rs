//! No credential is in Redis, and that of Redis is in no log.

use super::USERS;
use crate::{needs, support};
use serde_json::json;
use support::redis::{KEY, RedisServer, sharing};
use support::registry::Registry;
use support::secret_search::{LOGS, Secrets, logging, nothing_is_said};
use support::sidecar::Sidecar;

#[test]
fn credentials_are_in_no_key_no_value_no_log_and_no_metric() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let password = "the long password of alice";
    let registry = Registry::with_htpasswd(&[("alice", password), USERS[1]]);
    for log in LOGS {
        let redis = RedisServer::with(&["user crossmount on >the-password-of-redis ~* +@all"]);
        let mut secrets = Secrets::default();
        secrets.keep("the-password-of-redis");
        secrets.keep(KEY);
        let url = format!(
            "redis://crossmount:the-password-of-redis@127.0.0.1:{}",
            redis.port
        );
        let sidecar = Sidecar::with(&registry, |config| {
            config["access"] = json!({"mode": "upstream"});
            sharing(&url)(config);
            logging(config, log);
        });
        let client = secrets.basic(sidecar.port, "alice", password);
        sidecar.verify_store_as(&client);
        let digest = client.upload("team/base", b"a layer");
        redis.wait_for_holder(&digest, "team/base");
        let target = format!("other/{}", log.1);
        client.head_blob(&target, &digest).expect(200);
        let path = format!("/v2/{target}/blobs/{digest}");
        client
            .request("DELETE", &path)
            .send(client.port)
            .expect(202);
        drop(redis.connect());
        let everything = String::from_utf8_lossy(&redis.everything()).into_owned();
        assert!(everything.contains("team/base"), "{everything}");
        secrets.are_not_in(&everything);
        nothing_is_said(&sidecar, &secrets);
        let status = support::raw_http::get(sidecar.admin, "/").text();
        secrets.are_not_in(&status);
    }
}
