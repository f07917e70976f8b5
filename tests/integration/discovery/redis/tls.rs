//! TLS with an authority of its own, and a user who may do only what crossmount does.

use super::{USERS, authorization, refused, user, with_passwords};
use crate::{needs, support};
use serde_json::{Value, json};
use std::path::Path;
use support::program_run::refuses;
use support::redis::{ACL_USER, RedisServer, sharing};
use support::sidecar::{BINARY, Sidecar, command};
use support::token_issuer::signed;
use support::wait_until;

/// A server with TLS alone.
fn encrypted(files: &Path) -> RedisServer {
    let at = |name: &str| files.join(name).to_string_lossy().into_owned();
    let mut server = RedisServer::prepared("redis-server", &[ACL_USER]);
    server.listen_encrypted(&at("cert.pem"), &at("key.pem"));
    server.resume();
    server
}

fn settings(redis: &RedisServer, files: &Path, config: &mut Value) {
    let url = format!("rediss://crossmount:secret@127.0.0.1:{}", redis.port);
    config["access"] = json!({"mode": "upstream"});
    sharing(&url)(config);
    config["discovery"]["redis"]["ca_certificate"] = json!(files.join("ca.pem"));
}

#[test]
fn a_server_with_tls_and_a_user_is_shared() {
    needs!("docker-registry", "htpasswd", "openssl", "redis-server");
    let files = tempfile::tempdir().unwrap();
    signed(files.path());
    let (redis, registry) = (encrypted(files.path()), with_passwords());
    let replicas = [(); 2].map(|()| {
        let sidecar = Sidecar::with(&registry, |config| settings(&redis, files.path(), config));
        sidecar.verify_store_as(&user(&sidecar, 0));
        sidecar.wait_for_scan();
        sidecar
    });
    let [one, other] = [0, 1].map(|number: usize| {
        let client = replicas[number].client();
        client.header("Authorization", &authorization(USERS[0]))
    });
    let digest = one.upload("team/base", b"a layer");
    wait_until("the other replica knows the layer", || {
        other.head_blob("other/app", &digest).status == 200
    });
    assert_eq!(replicas[1].mounted(), 1);
    assert!(!replicas[0].log().contains("redis write refused"));
}

#[test]
fn a_certificate_of_another_authority_is_not_trusted() {
    needs!("docker-registry", "htpasswd", "openssl", "redis-server");
    let (files, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    signed(files.path());
    signed(others.path());
    let (redis, registry) = (encrypted(files.path()), with_passwords());
    let start = || Sidecar::with(&registry, |config| settings(&redis, others.path(), config));
    let (_sidecar, error) = refused(start);
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn a_file_without_certificates_keeps_crossmount_from_starting() {
    let home = tempfile::tempdir().unwrap();
    let nonsense = home.path().join("nonsense.pem");
    std::fs::write(&nonsense, "nonsense").unwrap();
    for (file, reason) in [
        (nonsense, "holds no certificate"),
        (home.path().join("missing.pem"), "cannot be read"),
    ] {
        let config = json!({
            "listen": {"address": "127.0.0.1:0"},
            "admin": {"address": "127.0.0.1:0"},
            "upstream": {"url": "http://127.0.0.1:1", "kind": "generic"},
            "discovery": {"enabled": true, "sources": "any", "redis": {
                "url": "rediss://127.0.0.1", "ca_certificate": file,
            }},
        });
        let path = home.path().join("crossmount.yml");
        std::fs::write(&path, config.to_string()).unwrap();
        let mut serve = command(BINARY);
        serve.args(["serve", "--config"]).arg(&path);
        refuses(serve, &["discovery.redis.ca_certificate", reason]);
    }
}
