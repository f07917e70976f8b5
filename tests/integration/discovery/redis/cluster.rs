//! A cluster, a server that a Sentinel names, and Valkey.

use super::{replica_at, user, with_passwords};
use crate::{needs, support};
use support::redis::RedisServer;
use support::wait_until;

/// What one replica learns through servers at this URL, another uses.
#[track_caller]
fn is_shared(url: &str) {
    let registry = with_passwords();
    let replicas = [(); 2].map(|()| replica_at(&registry, url));
    let [one, other] = [0, 1].map(|number: usize| user(&replicas[number], 0));
    // Their keys are on different nodes.
    for number in 0..8 {
        let digest = one.upload("team/base", format!("layer {number}").as_bytes());
        let target = format!("other/app{number}");
        wait_until("the other replica knows the layer", || {
            other.head_blob(&target, &digest).status == 200
        });
        let path = format!("/v2/{target}/blobs/{digest}");
        one.request("DELETE", &path).send(one.port).expect(202);
        other.head_blob(&target, &digest).expect(404);
    }
    for sidecar in &replicas {
        let failed = [("result", "failed")];
        let failed = sidecar.metric("crossmount_redis_requests_total", &failed);
        assert!(failed < 0.5, "{failed}\n{}", sidecar.log());
    }
}

#[test]
fn replicas_share_through_a_cluster() {
    needs!("docker-registry", "htpasswd", "redis-server");
    through_a_cluster("redis-server", "redis+cluster");
}

#[test]
fn replicas_share_through_a_cluster_of_valkey() {
    needs!("docker-registry", "htpasswd", "valkey-server");
    through_a_cluster("valkey-server", "valkey+cluster");
}

#[test]
fn replicas_share_through_valkey() {
    needs!("docker-registry", "htpasswd", "valkey-server");
    let server = RedisServer::of("valkey-server", &[]);
    is_shared(&server.url().replace("redis://", "valkey://"));
    assert!(server.size() > 0);
}

fn through_a_cluster(program: &'static str, scheme: &str) {
    let nodes = RedisServer::cluster(program);
    is_shared(&format!("{scheme}://127.0.0.1:{}", nodes[0].port));
    let sizes = nodes.each_ref().map(RedisServer::size);
    assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
}

#[test]
fn replicas_share_through_the_server_that_a_sentinel_names() {
    needs!("docker-registry", "htpasswd", "redis-server");
    let server = RedisServer::start();
    let sentinel = server.sentinel();
    is_shared(&format!(
        "redis+sentinel://127.0.0.1:{}/main",
        sentinel.port
    ));
    assert!(server.size() > 0);
}
