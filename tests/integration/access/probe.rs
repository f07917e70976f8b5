//! What the sidecar asks the registry on its own account, and what it makes of the answers.

use crate::support;
use serde_json::{Value, json};
use std::time::Duration;
use support::misbehaving_upstream::{Reply, answer};
use support::scripted_registry::{ScriptedRegistry, allowed, refused};
use support::sidecar_metrics::most_questions;

const BLOB: &[u8] = b"a blob in a scripted registry";

fn upstream_mode(config: &mut Value) {
    config["access"] = json!({"mode": "upstream"});
}

#[test]
fn the_probe_carries_the_callers_credentials_and_nothing_else_of_the_caller() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(upstream_mode);
    let digest = registry.plant("so/urce", BLOB);
    sidecar
        .client()
        .basic("alice", "right")
        .header("Cookie", "secret=1")
        .header("User-Agent", "a client/1.0")
        .header("X-Forwarded-For", "192.0.2.1")
        .header("X-Forwarded-Proto", "https")
        .header("Forwarded", "host=elsewhere.test")
        .header("Proxy-Authorization", "Basic eDp5")
        .header("X-Of-The-Client", "1")
        .mount("tar/get", &digest, "so/urce")
        .expect(201);
    assert_eq!(sidecar.mounts("mounted", "none"), 1);

    let probes = registry.heard("PATCH");
    assert_eq!(probes.len(), 1);
    let probe = &probes[0];
    let from = probe.target.replace("%2F", "/");
    assert_eq!(from, "/v2/tar/get/blobs/uploads/?from=so/urce");
    assert_eq!(
        probe.header("Authorization"),
        Some("Basic YWxpY2U6cmlnaHQ=")
    );
    let agent = probe.header("User-Agent").unwrap();
    assert!(agent.starts_with("crossmount/"), "{agent}");
    let host = format!("127.0.0.1:{}", registry.upstream.port);
    assert_eq!(probe.header("Host"), Some(&*host));
    assert_eq!(probe.header("Content-Length").unwrap_or("0"), "0");
    for name in [
        "Cookie",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "Forwarded",
        "Proxy-Authorization",
        "X-Of-The-Client",
    ] {
        assert_eq!(probe.header(name), None, "{name}");
    }
    assert_eq!(registry.heard("POST").len(), 0);
}

#[test]
fn without_access_control_the_probe_is_asked_without_credentials_and_rarely() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(|_| ());
    let digest = registry.plant("source", BLOB);
    let start = std::time::Instant::now();
    for at in 0..20 {
        let client = sidecar.client().basic("alice", "right");
        client
            .mount(&format!("target{at}"), &digest, "source")
            .expect(201);
    }
    assert_eq!(sidecar.mounts("mounted", "none"), 20);
    let probes = registry.heard("PATCH");
    let most = most_questions(start);
    assert!((1..=most).contains(&(probes.len() as u64)), "{probes:?}");
    for probe in &probes {
        assert_eq!(probe.header("Authorization"), None);
    }
}

#[test]
fn each_mount_asks_for_its_own_rights() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(upstream_mode);
    let digest = registry.plant("source", BLOB);
    for user in ["alice", "bob", "carol"] {
        let client = sidecar.client().basic(user, "x");
        client
            .mount(&format!("of-{user}"), &digest, "source")
            .expect(201);
    }
    let targets: Vec<_> = registry
        .heard("PATCH")
        .into_iter()
        .map(|probe| {
            (
                probe.target.clone(),
                probe.header("Authorization").unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(targets.len(), 3);
    for (at, user) in ["alice", "bob", "carol"].iter().enumerate() {
        assert_eq!(
            targets[at].0,
            format!("/v2/of-{user}/blobs/uploads/?from=source")
        );
    }
}

#[test]
fn an_answer_that_is_not_clear_leaves_the_mount_to_the_registry() {
    let moved = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /v2/moved/blobs/uploads/\r\n\
                 Content-Length: 0\r\n\r\n";
    let other = r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#;
    let invalid = r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}"#;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "a missed route",
            answer("404 Not Found", "404 page not found\n"),
        ),
        ("another code", answer("404 Not Found", other)),
        ("a phantom upload", answer("404 Not Found", invalid)),
        ("no body", answer("404 Not Found", "")),
        ("200", answer("200 OK", "{}")),
        ("202", answer("202 Accepted", "")),
        ("a login page", moved.into()),
        ("403", answer("403 Forbidden", "")),
        ("429", answer("429 Too Many Requests", "")),
        ("500", answer("500 Internal Server Error", "")),
        ("503", answer("503 Service Unavailable", "")),
        ("nonsense", b"nonsense\r\n\r\n".to_vec()),
        ("nothing", Vec::new()),
    ];
    for mode in ["upstream", "none"] {
        for (what, bytes) in &cases {
            let bytes = bytes.clone();
            let registry = ScriptedRegistry::start(move |heard| {
                (heard.method == "PATCH").then(|| Reply::AnswerAndClose(bytes.clone()))
            });
            let sidecar = registry.sidecar(|config| config["access"] = json!({"mode": mode}));
            let digest = registry.plant("source", BLOB);
            let client = sidecar.client().basic("alice", "right");
            let answer = client.mount("target", &digest, "source");
            assert_eq!(answer.status, 202, "{what}, mode {mode}");
            assert!(!registry.store.repository("target").exists(), "{what}");
            assert_eq!(sidecar.mounted(), 0, "{what}, mode {mode}");
            let posts = registry.heard("POST");
            assert_eq!(posts.len(), 1, "{what}, mode {mode}");
            assert_eq!(
                registry
                    .upstream
                    .all()
                    .iter()
                    .filter(|heard| heard.target.contains("moved"))
                    .count(),
                0
            );
            if what.starts_with('5') || what == &"a missed route" {
                let counted = sidecar.mounts("forwarded", "upstream_unavailable");
                assert_eq!(
                    counted,
                    1,
                    "{what}, mode {mode}: {:?}",
                    sidecar.all_mounts()
                );
            }
        }
    }
}

#[test]
fn a_read_only_response_counts_at_once() {
    for mode in ["upstream", "none"] {
        let registry = ScriptedRegistry::start(|heard| {
            (heard.method == "PATCH").then(|| Reply::Answer(answer("405 Method Not Allowed", "")))
        });
        let sidecar = registry.sidecar(|config| config["access"] = json!({"mode": mode}));
        let digest = registry.plant("source", BLOB);
        let client = sidecar.client().basic("alice", "right");
        client.mount("target", &digest, "source").expect(202);
        assert!(!registry.store.repository("target").exists());
        assert_eq!(sidecar.mounts("forwarded", "read_only"), 1, "mode {mode}");
    }
}

#[test]
fn a_refused_caller_is_not_linked_for_and_others_are_not_harmed() {
    let registry = ScriptedRegistry::start(|heard| {
        let wrong = heard.header("Authorization") != Some("Basic YWxpY2U6cmlnaHQ=");
        (wrong && heard.method != "PUT").then(|| Reply::Answer(refused()))
    });
    let sidecar = registry.sidecar(upstream_mode);
    let digest = registry.plant("source", BLOB);
    for at in 0..3 {
        let mallory = sidecar.client().basic("mallory", "x");
        mallory.mount("wrong", &digest, "source").expect(401);
        let alice = sidecar.client().basic("alice", "right");
        alice
            .mount(&format!("right{at}"), &digest, "source")
            .expect(201);
    }
    assert_eq!(sidecar.mounts("mounted", "none"), 3);
    assert_eq!(sidecar.mounts("forwarded", "denied"), 3);
    assert!(!registry.store.repository("wrong").exists());
}

/// distribution 2.8 does so where a handler of its own fails, and anybody can make one fail.
#[test]
fn a_request_at_which_the_registry_hangs_up_takes_nothing_from_the_others() {
    let registry = ScriptedRegistry::start(|heard| {
        let breaks = heard.target.contains("mallory");
        breaks.then_some(Reply::Close)
    });
    let sidecar = registry.sidecar(upstream_mode);
    let digest = registry.plant("source", BLOB);
    let client = sidecar.client().basic("alice", "right");
    let mallory = sidecar.client().basic("mallory", "x");
    client.mount("target0", &digest, "source").expect(201);
    for turn in 1..=5 {
        mallory.mount("mallory", &digest, "source").expect(502);
        mallory.get("/v2/mallory/tags/list").expect(502);
        let target = format!("target{turn}");
        client.mount(&target, &digest, "source").expect(201);
        assert_eq!(sidecar.mounted(), turn + 1);
    }
    assert_eq!(sidecar.mounts("native", "none"), 0);
}

#[test]
fn a_probe_past_the_time_budget_leaves_the_mount_to_the_registry() {
    let registry = ScriptedRegistry::start(|heard| {
        (heard.method == "PATCH").then(|| {
            std::thread::sleep(Duration::from_secs(8));
            Reply::Answer(allowed())
        })
    });
    let sidecar = registry.sidecar(|config| {
        upstream_mode(config);
        config["mount"] = json!({"time_budget": "300ms"});
    });
    let digest = registry.plant("source", BLOB);
    let start = std::time::Instant::now();
    let client = sidecar.client().basic("alice", "right");
    client.mount("target", &digest, "source").expect(202);
    assert!(start.elapsed() < Duration::from_secs(7));
    assert_eq!(sidecar.mounts("forwarded", "timeout"), 1);
    assert!(!registry.store.repository("target").exists());
}

#[test]
fn the_environments_proxy_is_not_used() {
    let registry = ScriptedRegistry::start(|_| None);
    let proxy = support::misbehaving_upstream::MisbehavingUpstream::always_answering("a proxy");
    let mut command = support::sidecar::command(support::sidecar::BINARY);
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env(name, proxy.url());
    }
    let mut config = support::sidecar::config(&registry.upstream.url(), &registry.store.root);
    upstream_mode(&mut config);
    let sidecar = support::sidecar::Sidecar::launch(command, &config);
    registry.verify_store(&sidecar.client());
    let digest = registry.plant("source", BLOB);
    let client = sidecar.client().basic("alice", "right");
    client.mount("target", &digest, "source").expect(201);
    assert_eq!(proxy.heard().len(), 0);
    assert_eq!(sidecar.mounts("mounted", "none"), 1);
}

#[test]
fn the_upstream_hears_the_same_whether_or_not_the_denied_source_exists() {
    let registry = ScriptedRegistry::start(|heard| {
        let denied = heard.method == "PATCH" || heard.target.contains("from=");
        denied.then(|| Reply::Answer(refused()))
    });
    let sidecar = registry.sidecar(upstream_mode);
    let digest = registry.plant("secret1", BLOB);
    let mut heard = Vec::new();
    for source in ["secret1", "secret2"] {
        let before = registry.upstream.all().len();
        let client = sidecar.client().basic("mallory", "x");
        client.mount("target", &digest, source).expect(202);
        let asked: Vec<_> = registry.upstream.all()[before..]
            .iter()
            .filter(|heard| heard.method != "GET")
            .map(|heard| format!("{} {}", heard.method, heard.target.replace(source, "S")))
            .collect();
        heard.push(asked);
    }
    assert_eq!(heard[0], heard[1]);
    assert_eq!(sidecar.mounts("forwarded", "denied"), 2);
}
