//! Clients that do not speak HTTP/1.1 themselves, or offer another protocol: a proxy in front with
//! its default settings, and a client that offers h2c. They get what others get.

use crate::{needs, support};
use support::bytes_from;
use support::compare::send_raw;
use support::image::Image;
use support::nginx::Nginx;
use support::raw_http::Request;
use support::registry::Registry;
use support::registry_client::mount_target;
use support::sidecar::Sidecar;

/// What Java's HTTP client says with each of its requests (`java.net.http`).
const H2C_OFFER: &str = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
     HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n";

#[test]
fn nginx_with_its_default_settings_mounts_with_and_without_a_source_and_on_head() {
    needs!("docker-registry", "nginx");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let nginx = Nginx::before(sidecar.port, "proxy_set_header Host $http_host;");
    let client = sidecar.client().at(nginx.port);
    let layer = bytes_from("a layer", 300_000);
    let digest = client.upload("base", &layer);
    let answer = client.mount("named", &digest, "base").expect(201);
    let location = format!("http://127.0.0.1:{}/v2/named/blobs/{digest}", nginx.port);
    assert_eq!(answer.header("Location"), Some(&*location));
    assert_eq!(sidecar.mounted(), 1);
    let sourceless = format!("/v2/unnamed/blobs/uploads/?mount={digest}");
    Request::new("POST", &sourceless)
        .send(nginx.port)
        .expect(201);
    assert_eq!(sidecar.mounted(), 2);
    client.head_blob("asked", &digest).expect(200);
    assert_eq!(sidecar.mounted(), 3);
    assert_eq!(client.pull("asked", &digest), layer);
    assert_eq!(sidecar.mounts_with_reason("odd_request"), 0);
}

#[test]
fn a_client_of_http_1_0_mounts_as_well() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let digest = sidecar.client().upload("base", b"a layer");
    for (target, headers) in [("closed", ""), ("kept", "Connection: keep-alive\r\n")] {
        let path = mount_target(target, &digest, "base");
        let request = format!("POST {path} HTTP/1.0\r\nHost: registry.test\r\n{headers}\r\n");
        send_raw(sidecar.port, request.as_bytes()).expect(201);
        let request = format!(
            "HEAD /v2/{target}/head/blobs/{digest} HTTP/1.0\r\nHost: registry.test\r\n{headers}\r\n"
        );
        send_raw(sidecar.port, request.as_bytes()).expect(200);
    }
    assert_eq!(sidecar.mounted(), 4);
}

#[test]
fn a_client_that_offers_another_protocol_is_answered_in_this_one() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let digest = sidecar.client().upload("base", b"a layer");
    let line = format!("HEAD /v2/asked/blobs/{digest} HTTP/1.1");
    let request = format!("{line}\r\nHost: registry.test\r\n{H2C_OFFER}\r\n");
    send_raw(sidecar.port, request.as_bytes()).expect(200);
    let line = format!("POST {} HTTP/1.1", mount_target("named", &digest, "base"));
    let request = format!("{line}\r\nHost: registry.test\r\nContent-Length: 0\r\n{H2C_OFFER}\r\n");
    send_raw(sidecar.port, request.as_bytes()).expect(201);
    assert_eq!(sidecar.mounted(), 2);
    assert!(registry.store.has_link("asked", &digest));
}

#[test]
fn an_answer_of_unknown_length_ends_with_the_connection_of_a_client_of_http_1_0() {
    needs!("docker-registry");
    let registry = Registry::start();
    let client = registry.client();
    let image = Image::of(&["layer"], 100);
    for number in 0..120 {
        // Distribution 3 lists only repositories that have a manifest.
        image.push(&client, &format!("some/repository-{number:03}"), "latest");
    }
    let sidecar = Sidecar::start(&registry);
    for headers in ["", "Connection: keep-alive\r\n"] {
        let request = format!("GET /v2/_catalog HTTP/1.0\r\nHost: registry.test\r\n{headers}\r\n");
        let alone = send_raw(registry.port, request.as_bytes()).expect(200);
        let through = send_raw(sidecar.port, request.as_bytes()).expect(200);
        assert_eq!(through.header("Transfer-Encoding"), None);
        assert_eq!(alone.header("Transfer-Encoding"), None);
        assert_eq!(through.text(), alone.text());
        assert!(
            through.text().contains("repository-099"),
            "{}",
            through.text()
        );
    }
}

#[test]
fn an_absolute_target_without_host_is_taken_from_a_client_of_http_1_0() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    for port in [registry.port, sidecar.port] {
        send_raw(port, b"GET http://registry.test/v2/ HTTP/1.0\r\n\r\n").expect(200);
        let start = b"POST http://registry.test/v2/a/blobs/uploads/ HTTP/1.0\r\n\r\n";
        let answer = send_raw(port, start).expect(202);
        let location = answer.header("Location").unwrap();
        assert!(
            location.starts_with("http://registry.test/v2/a/"),
            "{location}"
        );
    }
}
