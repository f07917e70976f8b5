//! A registry whose storage is in Azure.

use super::{config, links, requests};
use crate::needs;
use crate::support::azurite::Azurite;
use crate::support::counting_proxy::CountingProxy;
use crate::support::digest_of;
use crate::support::program_run::run_within;
use crate::support::seaweedfs::{data, link};
use crate::support::sidecar::{BINARY, Sidecar, command};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

#[test]
fn a_container_is_listed_as_a_bucket_is() {
    needs!("azurite");
    let azurite = Azurite::start();
    azurite.create_container("registry");
    let digest = digest_of(b"a layer");
    for (root, repositories) in [("a/b/", &["one", "team/two"][..]), ("/", &["old"])] {
        azurite.put("registry", &data(root, &digest), b"a layer");
        for repository in repositories {
            let key = link(root, repository, &digest);
            azurite.put("registry", &key, digest.as_bytes());
        }
    }
    let proxy = CountingProxy::start(azurite.port);
    proxy.pass_only_lists();
    let mut settings = azurite.settings("registry");
    settings["serviceurl"] = json!(Azurite::service_url(proxy.port));
    settings["rootdirectory"] = json!("/a/b");
    let store = json!({"azure": settings});
    let sidecar = Sidecar::from(&config("http://127.0.0.1:1", &store));
    sidecar.wait_for_scan();
    assert_eq!((links(&sidecar), requests(&sidecar, "ok")), (2, 1));
    proxy.assert_only_lists();

    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.yml");
    let theirs = json!({"version": 0.1, "storage": {"azure": settings}});
    fs::write(&file, theirs.to_string()).unwrap();
    let mut command = command(BINARY);
    command
        .args(["report", "--json", "--registry-config"])
        .arg(&file);
    let ended = run_within(Duration::from_secs(20), command);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let found: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (&found["links"], &found["sparable_bytes"]),
        (&json!(2), &json!(7))
    );
    proxy.assert_only_lists();
}
