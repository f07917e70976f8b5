//! A registry that demands a client certificate (`http.tls.clientcas`).

use crate::{needs, support};
use serde_json::json;
use std::fs;
use std::process::Command;
use support::client_certificates::{Clients, demanding, over_tls, servers_files};
use support::discovery::discover_on_head;
use support::program_run::check;
use support::raw_http;
use support::registry::Registry;
use support::sidecar::{BINARY, Sidecar, command, config};
use support::sidecar_metrics::whole;
use support::tools;
use support::wait_until;

/// The status by curl, which shows these files or none.
fn curl(registry: &Registry, authority: &std::path::Path, clients: Option<&Clients>) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null", "--noproxy", "*"])
        .args(["--write-out", "%{http_code}", "--cacert"])
        .arg(authority);
    if let Some(clients) = clients {
        curl.arg("--cert").arg(clients.path("client.pem"));
        curl.arg("--key").arg(clients.path("client.key"));
    }
    let url = format!("https://localhost:{}/v2/", registry.port);
    let output = curl.arg(url).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_connection_to_the_registry_shows_the_client_certificate() {
    needs!("docker-registry", "openssl", "curl");
    let (files, clients) = (servers_files(), Clients::new());
    let registry = demanding(files.path(), &clients);
    let authority = files.path().join("ca.pem");
    assert_eq!(curl(&registry, &authority, None), "000");
    assert_eq!(curl(&registry, &authority, Some(&clients)), "200");

    let sidecar = Sidecar::with(&registry, |config| {
        over_tls(config, &registry, &authority);
        clients.show(config);
        discover_on_head(config);
    });
    // A push, a mount, for which the registry is asked whether it is writable, and a pull.
    let client = sidecar.client();
    let bytes = support::bytes_from("a blob of some size", 3_000_000);
    let digest = client.upload("source", &bytes);
    client.mount("target", &digest, "source").expect(201);
    assert_eq!(sidecar.mounts("mounted", "none"), 1);
    assert_eq!(client.pull("target", &digest), bytes);
    // A HEAD that is held until its answer was looked at.
    client.head_blob("third", &digest).expect(200);
    assert_eq!(sidecar.mounted(), 2);
    raw_http::get(sidecar.admin, "/readyz").expect(200);
    let place = [("place", "upstream_client")];
    let expiry = sidecar.metric("crossmount_certificate_expiry_timestamp_seconds", &place);
    assert!(expiry > 1.7e9, "{expiry}");
}

#[test]
fn without_a_client_certificate_nothing_reaches_such_a_registry() {
    needs!("docker-registry", "openssl");
    let (files, clients, strangers) = (servers_files(), Clients::new(), Clients::new());
    let registry = demanding(files.path(), &clients);
    for shown in [None, Some(&strangers)] {
        let sidecar = Sidecar::with(&registry, |config| {
            over_tls(config, &registry, &files.path().join("ca.pem"));
            if let Some(clients) = shown {
                clients.show(config);
            }
        });
        let status = sidecar.client().get("/v2/").status;
        assert!([502, 503].contains(&status), "{status}");
        raw_http::get(sidecar.admin, "/readyz").expect(503);
    }
}

#[test]
fn a_renewed_client_certificate_is_shown_by_every_new_connection() {
    needs!("docker-registry", "openssl");
    let (files, clients, fresh) = (servers_files(), Clients::new(), Clients::new());
    let mut registry = demanding(files.path(), &clients);
    let sidecar = Sidecar::with(&registry, |config| {
        over_tls(config, &registry, &files.path().join("ca.pem"));
        clients.show(config);
    });
    let client = sidecar.client();
    client.get("/v2/").expect(200);
    let serial = || {
        let place = [("place", "upstream_client")];
        whole(sidecar.metric("crossmount_certificate_expiry_timestamp_seconds", &place))
    };
    let before = serial();
    registry.config["http"]["tls"]["clientcas"] = json!([fresh.path("ca.pem")]);
    registry.restart();
    assert_ne!(client.get("/v2/").status, 200);
    raw_http::get(sidecar.admin, "/readyz").expect(503);

    // Half of a renewal is none: the certificate does not fit the key.
    let old = fs::read(clients.path("client.pem")).unwrap();
    fs::copy(fresh.path("client.pem"), clients.path("client.pem")).unwrap();
    wait_until("the half is noticed", || {
        let log = sidecar.log();
        log.contains("file reload failed") && log.contains("upstream.client_key")
    });
    assert_ne!(client.get("/v2/").status, 200);
    fs::write(clients.path("client.pem"), old).unwrap();

    clients.replace(&fresh);
    wait_until("the new one is shown", || client.get("/v2/").status == 200);
    wait_until("questions show it too", || {
        raw_http::get(sidecar.admin, "/readyz").status == 200
    });
    let digest = client.upload("source", b"some bytes");
    client.mount("target", &digest, "source").expect(201);
    assert_eq!(sidecar.mounts("mounted", "none"), 1);
    assert!(serial() >= before);
}

#[test]
fn keys_of_every_usual_form_are_taken() {
    needs!("docker-registry", "openssl");
    let (files, clients) = (servers_files(), Clients::new());
    clients.issue("p256", "EC -pkeyopt ec_paramgen_curve:P-256");
    clients.issue("ed25519", "ED25519");
    // The older forms, each of the same key.
    let convert = |line: &str| tools::run(&mut clients.openssl(line));
    convert("rsa -traditional -in client.key -out pkcs1.key");
    convert("ec -in p256.key -out sec1.key");
    let registry = demanding(files.path(), &clients);
    for (certificate, key) in [
        ("client.pem", "pkcs1.key"),
        ("p256.pem", "p256.key"),
        ("p256.pem", "sec1.key"),
        ("ed25519.pem", "ed25519.key"),
    ] {
        let sidecar = Sidecar::with(&registry, |config| {
            over_tls(config, &registry, &files.path().join("ca.pem"));
            config["upstream"]["client_certificate"] = json!(clients.path(certificate));
            config["upstream"]["client_key"] = json!(clients.path(key));
        });
        let answer = sidecar.client().get("/v2/");
        assert_eq!(answer.status, 200, "{key}");
        raw_http::get(sidecar.admin, "/readyz").expect(200);
    }
}

/// With the system's roots, which are these.
#[test]
fn the_systems_roots_and_a_client_certificate_go_together() {
    needs!("docker-registry", "openssl");
    let (files, clients) = (servers_files(), Clients::new());
    let registry = demanding(files.path(), &clients);
    let mut config = config(&registry.url(), &registry.store.root);
    fs::create_dir_all(&registry.store.root).unwrap();
    config["upstream"]["url"] = json!(format!("https://localhost:{}", registry.port));
    clients.show(&mut config);
    let mut command = command(BINARY);
    command.env("SSL_CERT_FILE", files.path().join("ca.pem"));
    let sidecar = Sidecar::launch(command, &config);
    sidecar.client().get("/v2/").expect(200);
    raw_http::get(sidecar.admin, "/readyz").expect(200);
}

#[test]
fn a_check_says_whether_the_client_certificate_can_be_used() {
    needs!("docker-registry", "openssl");
    let (files, clients, others) = (servers_files(), Clients::new(), Clients::new());
    let registry = demanding(files.path(), &clients);
    let authority = files.path().join("ca.pem");
    let good = check(&registry, |config| {
        over_tls(config, &registry, &authority);
        clients.show(config);
    });
    assert_eq!(good.code, Some(0), "{}{}", good.out, good.err);
    let said = "ok: certificate and key for the registry fit each other";
    assert!(good.out.contains(said), "{}", good.out);

    fs::write(clients.path("empty"), "").unwrap();
    let (key, certificate) = (clients.path("client.key"), clients.path("client.pem"));
    for (setting, path, words) in [
        (
            "client_key",
            others.path("client.key"),
            "is not the key of upstream.client_certificate",
        ),
        ("client_key", clients.path("missing"), "No such file"),
        ("client_key", certificate.clone(), "no items found"),
        ("client_certificate", key.clone(), "holds no certificate"),
        (
            "client_certificate",
            clients.path("empty"),
            "holds no certificate",
        ),
    ] {
        let ended = check(&registry, |config| {
            over_tls(config, &registry, &authority);
            clients.show(config);
            config["upstream"][setting] = json!(path);
        });
        assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
        let line = ended.out.lines().find(|line| line.starts_with("fault: "));
        let line = line.unwrap_or_default();
        let begin = format!("fault: upstream.{setting}: {}: ", path.display());
        assert!(line.starts_with(&begin), "{line}");
        assert!(line.contains(words), "{line}");
    }

    for shown in [None, Some(&others)] {
        let ended = check(&registry, |config| {
            over_tls(config, &registry, &authority);
            if let Some(clients) = shown {
                clients.show(config);
            }
        });
        assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
        let advice = "upstream.client_certificate";
        let line = ended.out.lines().find(|line| line.starts_with("fault: "));
        assert!(line.is_some_and(|line| line.contains(advice)), "{line:?}");
    }
}
