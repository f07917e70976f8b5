//! TLS in front, TLS and a unix socket behind.

use crate::{needs, support};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::digest_of;
use support::misbehaving_upstream::MisbehavingUpstream;
use support::program_run::{GOOD, Home, run};
use support::registry::Registry;
use support::registry_client::mount_target;
use support::sidecar::{BINARY, Sidecar, command, config};
use support::token_issuer::signed;
use support::{raw_http, tools};

const BLOB: &[u8] = b"a blob over many ways";

struct Pems {
    home: tempfile::TempDir,
}

impl Pems {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        signed(home.path());
        Self { home }
    }

    fn authority(&self) -> String {
        self.path("ca.pem")
    }

    fn key(&self) -> String {
        self.path("key.pem")
    }

    fn certificate(&self) -> String {
        self.path("cert.pem")
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_string_lossy().into_owned()
    }
}

struct Said {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Said {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A request by curl, which trusts this authority and no other.
fn curl(pems: &Pems, method: &str, url: &str, body: Option<&Path>) -> Said {
    let out = tempfile::tempdir().unwrap();
    let (head, content) = (out.path().join("head"), out.path().join("body"));
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--http1.1", "--max-time", "60"])
        .args([
            "--noproxy",
            "*",
            "--cacert",
            &pems.certificate(),
            "-X",
            method,
        ])
        .arg("--dump-header")
        .arg(&head)
        .arg("--output")
        .arg(&content)
        .args(["--header", "Expect:"])
        .arg(url);
    if let Some(body) = body {
        curl.args(["--header", "Content-Type: application/octet-stream"])
            .arg("--data-binary")
            .arg(format!("@{}", body.display()));
    }
    tools::run(&mut curl);
    let head = fs::read_to_string(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = fs::read(content).unwrap_or_default();
    Said { status, head, body }
}

#[test]
fn clients_may_speak_tls() {
    needs!("docker-registry", "openssl", "curl");
    let pems = Pems::new();
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, |config| {
        config["listen"]["tls"] = json!({"certificate": pems.certificate(), "key": pems.key()});
    });
    let base = format!("https://127.0.0.1:{}", sidecar.port);
    let digest = digest_of(BLOB);
    let opened = curl(&pems, "POST", &format!("{base}/v2/a/blobs/uploads/"), None);
    assert_eq!(opened.status, 202, "{}", opened.head);
    let location = opened.header("Location").unwrap();
    assert!(
        location.starts_with(&format!("{base}/v2/a/blobs/uploads/")),
        "{location}"
    );
    let file = pems.home.path().join("blob");
    fs::write(&file, BLOB).unwrap();
    let put = curl(
        &pems,
        "PUT",
        &format!("{location}&digest={digest}"),
        Some(&file),
    );
    assert_eq!(put.status, 201, "{}", put.head);

    let mount = curl(
        &pems,
        "POST",
        &(base.clone() + &mount_target("b", &digest, "a")),
        None,
    );
    assert_eq!(mount.status, 201, "{}", mount.head);
    let wanted = format!("{base}/v2/b/blobs/{digest}");
    assert_eq!(mount.header("Location"), Some(&*wanted));
    assert_eq!(sidecar.mounts("mounted", "none"), 1);
    assert_eq!(curl(&pems, "GET", &wanted, None).body, BLOB);

    // The registry's own mount, which a repeated parameter asks for, says the same.
    let odd = mount_target("b", &digest, "a") + "&from=a";
    let native = curl(&pems, "POST", &(base + &odd), None);
    assert_eq!(native.header("Location"), Some(&*wanted));
    assert_eq!(sidecar.mounts_with_reason("odd_request"), 1);
    let expiry = sidecar.metric("crossmount_certificate_expiry_timestamp_seconds", &[]);
    assert!(expiry > 1.7e9, "{expiry}");
}

#[test]
fn plain_text_on_a_tls_listener_is_not_answered_as_if_it_were_the_registry() {
    needs!("docker-registry", "openssl");
    let pems = Pems::new();
    let registry = Registry::start();
    let mut sidecar = Sidecar::with(&registry, |config| {
        config["listen"]["tls"] = json!({"certificate": pems.certificate(), "key": pems.key()});
    });
    let answer = support::raw_http::Request::new("GET", "/v2/").try_send(sidecar.port);
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status >= 400));
    assert!(sidecar.is_running());
}

#[test]
fn the_registry_may_speak_tls() {
    needs!("docker-registry", "openssl");
    let pems = Pems::new();
    let registry = Registry::with(|config| {
        config["http"]["tls"] = json!({"certificate": pems.certificate(), "key": pems.key()});
    });
    for name in ["127.0.0.1", "localhost"] {
        let sidecar = Sidecar::with(&registry, |config| {
            config["upstream"]["url"] = json!(format!("https://{name}:{}", registry.port));
            config["upstream"]["ca_certificate"] = json!(pems.authority());
        });
        mounts_and_pulls(&registry, &sidecar, name);
    }
}

#[test]
fn a_registry_with_a_strangers_certificate_is_not_trusted() {
    needs!("docker-registry", "openssl");
    let (pems, strangers) = (Pems::new(), Pems::new());
    let registry = Registry::with(|config| {
        config["http"]["tls"] = json!({"certificate": pems.certificate(), "key": pems.key()});
    });
    for certificate in [None, Some(strangers.authority())] {
        let sidecar = Sidecar::with(&registry, |config| {
            config["upstream"]["url"] = json!(format!("https://127.0.0.1:{}", registry.port));
            if let Some(certificate) = certificate {
                config["upstream"]["ca_certificate"] = json!(certificate);
            }
        });
        let status = sidecar.client().get("/v2/").status;
        assert!([502, 503].contains(&status), "{status}");
    }
}

#[test]
fn the_registry_may_listen_on_a_unix_socket() {
    needs!("docker-registry");
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("registry.sock");
    let mut registry = Registry::with(|config| {
        config["http"]["net"] = json!("unix");
        config["http"]["addr"] = json!(socket);
    });
    let sidecar = Sidecar::with(&registry, |config| {
        config["upstream"]["url"] = json!(format!("unix:{}", socket.display()));
    });
    mounts_and_pulls(&registry, &sidecar, "socket");

    registry.kill();
    let answer = sidecar.client().get("/v2/").expect(503);
    assert_eq!(answer.header("Retry-After"), Some("1"));
    let _ = fs::remove_file(&socket);
    registry.resume();
    support::wait_until("it answers again", || {
        sidecar.client().get("/v2/").status == 200
    });
}

/// An upload, a mount of our own, the registry's own mount, which must say the same, and a pull.
fn mounts_and_pulls(registry: &Registry, sidecar: &Sidecar, turn: &str) {
    let client = sidecar.client();
    let digest = client.upload("a", BLOB);
    let target = format!("of/{turn}");
    let ours = client.mount(&target, &digest, "a").expect(201);
    assert_eq!(sidecar.mounts("mounted", "none"), 1);
    assert!(registry.store.link(&target, &digest).exists());
    assert_eq!(client.pull(&target, &digest), BLOB);
    let odd = mount_target(&target, &digest, "a") + "&from=a";
    let theirs = client.request("POST", &odd).send(client.port).expect(201);
    assert_eq!(ours.header("Location"), theirs.header("Location"));
    let big = support::bytes_from(turn, 3_000_000);
    client.upload("big", &big);
    assert_eq!(client.pull("big", &digest_of(&big)), big);
}

#[test]
fn every_setting_can_come_from_the_environment() {
    needs!("docker-registry", "openssl", "curl");
    let pems = Pems::new();
    let registry = Registry::with(|config| config["http"]["prefix"] = json!("/pfx/"));
    fs::create_dir_all(&registry.store.root).unwrap();
    let mut command = command(BINARY);
    command.arg("serve");
    for (name, value) in [
        ("LISTEN_ADDRESS", "127.0.0.1:0"),
        ("LISTEN_TLS_CERTIFICATE", &pems.certificate()),
        ("LISTEN_TLS_KEY", &pems.key()),
        ("ADMIN_ADDRESS", "127.0.0.1:0"),
        ("UPSTREAM_URL", &registry.url()),
        ("UPSTREAM_KIND", "distribution"),
        ("UPSTREAM_VERSION", "2"),
        ("UPSTREAM_EXTERNAL_URL", "https://public.test"),
        ("UPSTREAM_RELATIVE_URLS", "false"),
        ("UPSTREAM_PREFIX", "/pfx/"),
        ("UPSTREAM_TIMEOUTS_CONNECT", "5s"),
        ("UPSTREAM_TIMEOUTS_READ", "10m"),
        ("UPSTREAM_TIMEOUTS_WRITE", "10m"),
        ("UPSTREAM_TIMEOUTS_IDLE", "20s"),
        (
            "STORE_FILESYSTEM_ROOTDIRECTORY",
            &registry.store.root.to_string_lossy(),
        ),
        ("STORE_DURABILITY", "file"),
        ("ACCESS_MODE", "none"),
        ("MOUNT_SOURCE_DENIED", "challenge"),
        ("MOUNT_TIME_BUDGET", "3s"),
        ("MOUNT_DRY_RUN", "true"),
        ("SHUTDOWN_DRAIN_DELAY", "0s"),
        ("SHUTDOWN_TIMEOUT", "1s"),
        ("LOG_LEVEL", "info"),
        ("LOG_FORMAT", "json"),
    ] {
        command.env(format!("CROSSMOUNT_{name}"), value);
    }
    let sidecar = Sidecar::run(command);
    let base = format!("https://127.0.0.1:{}/pfx", sidecar.port);
    let digest = digest_of(BLOB);
    let opened = curl(&pems, "POST", &format!("{base}/v2/a/blobs/uploads/"), None);
    assert_eq!(opened.status, 202, "{}", opened.head);
    let session = opened.header("Location").unwrap();
    let session = &session[session.find("/v2/").unwrap()..];
    let file = pems.home.path().join("blob");
    fs::write(&file, BLOB).unwrap();
    let put = format!("{base}{session}&digest={digest}");
    assert_eq!(curl(&pems, "PUT", &put, Some(&file)).status, 201);
    let mount = curl(
        &pems,
        "POST",
        &(base + &mount_target("b", &digest, "a")),
        None,
    );
    assert_eq!(mount.status, 201, "{}", mount.head);
    // The prefix was understood, and so was the dry run.
    assert_eq!(sidecar.mounts("would_mount", "none"), 1);
}

/// As in an image that holds nothing but the binary.
fn without_roots(mut command: Command) -> Command {
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env(name, "/nonexistent");
    }
    command
}

#[test]
fn a_system_without_certificates_is_enough_for_a_registry_without_tls() {
    let upstream = MisbehavingUpstream::always_answering("heard");
    let home = Home::new();
    let config = config(&upstream.url(), &home.root());
    let sidecar = Sidecar::launch(without_roots(command(BINARY)), &config);
    sidecar.client().get("/v2/").expect(200);
    raw_http::get(sidecar.admin, "/readyz").expect(200);
}

#[test]
fn without_system_certificates_a_registry_with_tls_needs_named_ones() {
    let text = GOOD.replace("http://127.0.0.1:1", "https://127.0.0.1:1");
    let home = Home::new();
    let ended = run(without_roots(home.with("serve", &text)));
    assert_eq!(ended.code, Some(1));
    let last = ended.err.lines().last().unwrap();
    assert!(last.starts_with("crossmount: "), "{last}");
    for word in ["CA certificates", "upstream.ca_certificate"] {
        assert!(last.contains(word), "{last}");
    }
}
