//! The page on the admin port and what its script asks for: true after real mounts, and safe.

use crate::{needs, support};
use serde_json::{Value, json};
use support::program_run::Home;
use support::raw_http::{self, Answer, Request};
use support::registry::Registry;
use support::sidecar::{BINARY, Sidecar, command, config};
use support::{digest_of, free_port};

/// Stands in the configuration and in the environment, where nobody may read it.
const SECRET: &str = "hunter2-of-the-tests";

#[track_caller]
fn status(sidecar: &Sidecar) -> Value {
    let answer = raw_http::get(sidecar.admin, "/status.json").expect(200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

#[track_caller]
fn page(sidecar: &Sidecar) -> String {
    raw_http::get(sidecar.admin, "/").expect(200).text()
}

/// How many mounts ended this way, by the page's own script's reading.
fn mounts(status: &Value, outcome: &str, reason: &str) -> u64 {
    let rows = status["mounts"].as_array().unwrap().iter();
    let mut rows = rows.filter(|row| row["outcome"] == outcome && row["reason"] == reason);
    rows.next().map_or(0, |row| row["count"].as_u64().unwrap())
}

#[test]
fn the_page_tells_what_was_mounted_and_how_much_was_not_sent() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let before = status(&sidecar);
    assert_eq!(
        before["saved_bytes"],
        json!({"today": 0, "since_start": 0}),
        "{before}"
    );
    assert_eq!(before["mounts"], json!([]));
    assert_eq!(before["latency_seconds"]["mounts"]["p95"], Value::Null);
    assert!(page(&sidecar).contains("None came since the start."));

    let client = sidecar.client();
    let digest = registry.client().upload("source", &[7; 1500]);
    for target in ["one", "other"] {
        client.mount(target, &digest, "source").expect(201);
    }
    let unknown = digest_of(b"unheard of");
    client.mount("one", &unknown, "source").expect(202);

    let after = status(&sidecar);
    // Midnight may come between the mounts and the question.
    let saved = &after["saved_bytes"];
    assert_eq!(saved["since_start"], 3000);
    assert!(
        saved["today"] == 3000 || after["day"] != before["day"],
        "{saved}"
    );
    assert_eq!(mounts(&after, "mounted", "none"), 2);
    assert_eq!(mounts(&after, "forwarded", "source_missing"), 1);
    assert_eq!(after["latency_seconds"]["mounts"]["count"], 3);
    assert!(after["latency_seconds"]["mounts"]["p50"].as_f64().unwrap() > 0.0);
    assert_eq!(after["ready"], true);
    assert_eq!(after["dry_run"], false);
    assert_eq!(after["version"], env!("CARGO_PKG_VERSION"));

    let page = page(&sidecar);
    for words in [
        "<strong id=\"total\">3.0 kB</strong> <span id=\"total-exact\">3,000 bytes</span>",
        "<td class=\"number\">2</td><td>crossmount wrote the link, and the layer was not sent.",
        "No repository was named, or found, that holds the layer for this caller.",
        "role=\"status\">ready</p>",
        "kind: distribution",
    ] {
        assert!(page.contains(words), "{words} in\n{page}");
    }
    let root = registry.store.root.display().to_string();
    assert!(page.contains(&root), "{page}");
}

#[test]
fn a_dry_run_shows_what_it_would_have_saved() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, |config| {
        config["mount"] = json!({"dry_run": true});
    });
    sidecar.verify_store();
    let digest = registry.client().upload("source", &[7; 1500]);
    sidecar.client().mount("one", &digest, "source").expect(201);
    let status = status(&sidecar);
    assert_eq!(mounts(&status, "would_mount", "none"), 1, "{status}");
    assert_eq!(status["dry_run"], true);
    assert_eq!(status["saved_bytes"]["since_start"], 1500);
    assert!(page(&sidecar).contains("mount.dry_run is on: nothing is linked"));
}

#[test]
fn health_has_the_words_of_readyz() {
    let home = Home::new();
    let url = format!("http://127.0.0.1:{}", free_port());
    let sidecar = Sidecar::from(&config(&url, &home.root()));
    let ready = raw_http::get(sidecar.admin, "/readyz").expect(503).text();
    let reason = ready.trim_end();
    let status = status(&sidecar);
    assert_eq!(status["ready"], false);
    assert_eq!(status["texts"]["health"], reason);
    let page = page(&sidecar);
    assert!(page.contains("<body data-ready=\"no\""), "{page}");
    assert!(page.contains(&format!(">{reason}</p>")), "{page}");
}

#[test]
fn no_secret_is_ever_shown() {
    let home = Home::new();
    let mut settings = config("http://127.0.0.1:1", &home.root());
    settings["upstream"]["response_headers"] = json!({"X-Api-Key": [SECRET]});
    let mut command = command(BINARY);
    command
        .env("CROSSMOUNT_UPSTREAM_PASSWORD", SECRET)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("CROSSMOUNT_MOUNT_TIME_BUDGET", "3s");
    let sidecar = Sidecar::launch(command, &settings);
    for path in ["/", "/status.json", "/metrics", "/readyz"] {
        let answer = raw_http::get(sidecar.admin, path);
        assert!(!answer.text().contains(SECRET), "{path}");
    }
    let page = page(&sidecar);
    assert!(page.contains("X-Api-Key:\n    - (masked)\n"), "{page}");
    assert!(page.contains("time_budget: 3s\n"), "{page}");
}

#[track_caller]
fn is_safe(answer: &Answer, kind: &str) {
    assert_eq!(answer.header("Content-Type"), Some(kind));
    let policy = answer.header("Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(
        !policy.contains("unsafe") && !policy.contains("http"),
        "{policy}"
    );
    assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
}

#[test]
fn every_answer_has_its_type_and_a_strict_policy() {
    let home = Home::new();
    let sidecar = Sidecar::from(&config("http://127.0.0.1:1", &home.root()));
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/status.json", "application/json"),
        ("/healthz", "text/plain; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let got = raw_http::get(sidecar.admin, path).expect(200);
        is_safe(&got, kind);
        let head = Request::new("HEAD", path).send(sidecar.admin).expect(200);
        is_safe(&head, kind);
        assert!(head.body.is_empty());
        assert_ne!(head.header("Content-Length"), Some("0"), "{path}");
    }
    let lost = raw_http::get(sidecar.admin, "/v2/").expect(404);
    is_safe(&lost, "text/plain; charset=utf-8");
    assert_eq!(
        lost.text(),
        "/, /status.json, /metrics, /healthz and /readyz are here\n"
    );
    Request::new("POST", "/").send(sidecar.admin).expect(405);
    // Nothing of it is on the registry's port.
    raw_http::get(sidecar.port, "/status.json").expect(503);
}
