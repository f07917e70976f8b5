//! Two replicas in front of Pulp.

use crate::{needs, support};
use serde_json::{Value, json};
use support::image::Image;
use support::pulp::{self, ADMIN, Pulp, fresh};
use support::redis::{RedisServer, sharing};

#[test]
fn a_layer_that_passed_one_replica_is_mounted_by_pulp_through_another() {
    needs!("redis-server");
    let Some(pulp) = pulp::start() else { return };
    let (redis, team) = (RedisServer::start(), fresh("team"));
    let replicas = [(); 2].map(|()| {
        pulp.sidecar(|config| {
            sharing(&redis.url())(config);
            config["discovery"]["shared_sources"] = json!([format!("{team}/*")]);
        })
    });
    let base = format!("{team}/base");
    let image = Image::of(&[&fresh("a"), &fresh("b")], 2000);
    image.push(&pulp.pushing(replicas[0].port, ADMIN, &base), &base, "v1");
    let user = pulp.user();
    let target = format!("{user}/app");
    let scopes = [
        format!("repository:{target}:pull,push"),
        format!("repository:{base}:pull"),
    ];
    let scopes: Vec<_> = scopes.iter().map(String::as_str).collect();
    let path = Pulp::token_target(replicas[1].port, &scopes);
    let login = replicas[1].client().basic(&user, &user);
    let token: Value = serde_json::from_slice(&login.get(&path).expect(200).body).unwrap();
    let client = replicas[1].client();
    let client = client.bearer(token["token"].as_str().unwrap());
    for layer in &image.layers {
        redis.wait_for_holder(&layer.digest, &base);
        client.head_blob(&target, &layer.digest).expect(302);
        assert_eq!(pulp.pull(&client, &target, &layer.digest), layer.bytes);
    }
    assert_eq!(replicas[1].mounts("native", "none"), 2);
}
