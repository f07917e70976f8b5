//! What passes through in front of Pulp.

use crate::support;
use serde_json::json;
use support::image::Image;
use support::pulp::{self, ADMIN, fresh};
use support::raw_http;

#[test]
fn the_signed_redirect_of_a_blob_is_untouched_and_never_logged() {
    let Some(pulp) = pulp::start() else { return };
    let sidecar = pulp.sidecar(|config| {
        config["log"] = json!({"level": "trace"});
        config["store"] = json!({"artifacts": {"rootdirectory": pulp.media}});
    });
    let (source, target) = (format!("{}/src", fresh("team")), fresh("team"));
    let image = Image::of(&[&fresh("layer")], 2000);
    let client = pulp.mounting(sidecar.port, ADMIN, &source, &target);
    image.push(&client, &source, "v1");
    let layer = &image.layers[0];
    for answer in [
        client.blob(&source, &layer.digest).expect(302),
        client.head_blob(&source, &layer.digest).expect(302),
    ] {
        let location = answer.header("Location").unwrap();
        let place = format!("http://127.0.0.1:{}/pulp/container/{source}/", pulp.content);
        assert!(location.starts_with(&place), "{location}");
        assert!(location.contains("validate_token="), "{location}");
        let body = raw_http::get(pulp.content, &answer.location_path())
            .expect(200)
            .body;
        assert_eq!(body, layer.bytes);
    }
    // A blob that is relayed is asked for by us, and its redirect is as secret.
    let pending = support::bytes_from(&fresh("pending"), 3000);
    let digest = client.upload(&source, &pending);
    let mounting = pulp.mounting(sidecar.port, ADMIN, &target, &source);
    mounting.mount(&target, &digest, &source).expect(201);
    assert_eq!(sidecar.mounts("relayed", "none"), 1);
    sidecar.wait_for_log(r#""outcome":"relayed""#);
    let log = sidecar.log();
    for secret in ["validate_token", "expires=", "Bearer ey", "pulp/container"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[test]
fn a_push_and_a_pull_pass_as_they_are() {
    let Some(pulp) = pulp::start() else { return };
    let sidecar = pulp.sidecar(|_| ());
    let repository = format!("{}/image", fresh("team"));
    let image = Image::of(&[&fresh("a"), &fresh("b")], 200_000);
    let client = pulp.pushing(sidecar.port, ADMIN, &repository);
    image.push(&client, &repository, "v1");
    for blob in image.blobs() {
        assert_eq!(pulp.pull(&client, &repository, &blob.digest), blob.bytes);
    }
    let ready = raw_http::get(sidecar.admin, "/readyz");
    assert_eq!(ready.status, 200, "{}", ready.text());
}

#[test]
fn the_configuration_is_found_good() {
    let Some(pulp) = pulp::start() else { return };
    let mut config = pulp.config();
    config["store"] = json!({"artifacts": {"rootdirectory": pulp.media}});
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("crossmount.yaml");
    std::fs::write(&file, config.to_string()).unwrap();
    let check = |file: &std::path::Path| {
        support::sidecar::command(support::sidecar::BINARY)
            .args(["check", "--config"])
            .arg(file)
            .output()
            .unwrap()
    };
    let output = check(&file);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("artifacts"), "{said}");
    assert!(said.contains("asks for credentials"), "{said}");
    config["store"] = json!({"artifacts": {"rootdirectory": home.path().join("none")}});
    std::fs::write(&file, config.to_string()).unwrap();
    let output = check(&file);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("fault: store.artifacts.rootdirectory"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
}
