//! The page on the admin port and what its script asks for: true after real mounts, and safe.

use crate::{needs, support};
use serde_json::{Value, json};
use support::program_run::Home;
use support::raw_http::{self, Answer, Request};
use support::registry::Registry;
use support::scripted_page::status;
use support::sidecar::{BINARY, Sidecar, command, config};
use support::token_issuer::signed;
use support::{digest_of, free_port, wait_until};

/// Stands in the configuration and in the environment, where nobody may read it.
const SECRET: &str = "hunter2-of-the-tests";

/// How many mounts ended this way, by the page's own script's reading.
fn mounts(status: &Value, outcome: &str, reason: &str) -> u64 {
    let rows = status["mounts"].as_array().unwrap().iter();
    let mut rows = rows.filter(|row| row["outcome"] == outcome && row["reason"] == reason);
    rows.next().map_or(0, |row| row["count"].as_u64().unwrap())
}

#[test]
fn the_status_says_what_was_mounted_saved_and_uploaded() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let before = status(&sidecar);
    let uploaded_before = before["uploaded_bytes"]["since_start"].as_u64().unwrap();
    assert_eq!(
        before["saved_bytes"],
        json!({"today": 0, "since_start": 0}),
        "{before}"
    );
    assert_eq!(before["mounts"], json!([]));
    assert_eq!(before["hit_rate"], Value::Null);
    assert_eq!(before["latency_seconds"]["mounts"]["p95"], Value::Null);

    let client = sidecar.client();
    let digest = client.upload("source", &[7; 1500]);
    for target in ["one", "other", "third"] {
        client.mount(target, &digest, "source").expect(201);
    }
    let unknown = digest_of(b"unheard of");
    client.mount("one", &unknown, "source").expect(202);

    let after = status(&sidecar);
    // Midnight may come between the mounts and the question.
    for (bytes, total) in [
        ("saved_bytes", 4500),
        ("uploaded_bytes", uploaded_before + 1500),
    ] {
        let bytes = &after[bytes];
        assert_eq!(bytes["since_start"], total);
        assert!(
            bytes["today"] == total || after["day"] != before["day"],
            "{bytes}"
        );
    }
    assert_eq!(mounts(&after, "mounted", "none"), 3);
    assert_eq!(mounts(&after, "forwarded", "source_missing"), 1);
    assert_eq!(after["hit_rate"], 0.75);
    let latency = &after["latency_seconds"]["mounts"];
    assert_eq!(latency["count"], 4);
    let seconds = ["p50", "p95", "p99"].map(|name| latency[name].as_f64().unwrap());
    assert!(seconds[0] > 0.0 && seconds.is_sorted(), "{latency}");
    for name in ["requests_per_second", "mounts_per_second"] {
        assert!(after["rates"][name].as_f64().unwrap() > 0.0, "{after}");
    }
    assert_eq!(after["ready"], true);
    assert_eq!(after["dry_run"], false);
    assert_eq!(after["version"], env!("CARGO_PKG_VERSION"));
    for time in ["time", "started"] {
        let time = after[time].as_str().unwrap();
        is_rfc3339(time);
        assert!(time >= before["started"].as_str().unwrap(), "{time}");
    }
    let settings = after["settings"].as_str().unwrap();
    let root = registry.store.root.display().to_string();
    assert!(settings.contains("kind: distribution"), "{settings}");
    assert!(settings.contains(&root), "{settings}");
}

/// A time as in RFC 3339, to the second, in UTC.
#[track_caller]
fn is_rfc3339(time: &str) {
    let shape: String = time
        .chars()
        .map(|letter| if letter.is_ascii_digit() { '0' } else { letter })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00Z");
}

#[test]
fn the_history_has_every_byte_in_buckets_of_five_minutes() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let digest = client.upload("source", &[7; 1500]);
    client.mount("one", &digest, "source").expect(201);
    let status = status(&sidecar);
    let history = &status["history"];
    assert_eq!(history["bucket_seconds"], 300);
    let buckets = history["buckets"].as_array().unwrap();
    // The tests may run while one bucket ends.
    assert!((1..=2).contains(&buckets.len()), "{history}");
    for key in ["saved_bytes", "uploaded_bytes"] {
        let sum: u64 = buckets.iter().map(|one| one[key].as_u64().unwrap()).sum();
        assert_eq!(status[key]["since_start"], sum, "{history}");
    }
    let start = buckets[0]["start"].as_str().unwrap();
    is_rfc3339(start);
    assert!(
        start.ends_with("0:00Z") || start.ends_with("5:00Z"),
        "{start}"
    );
}

#[test]
fn a_dry_run_shows_what_it_would_have_saved() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, |config| {
        config["mount"]["dry_run"] = json!(true);
    });
    sidecar.verify_store();
    let digest = registry.client().upload("source", &[7; 1500]);
    sidecar.client().mount("one", &digest, "source").expect(201);
    let status = status(&sidecar);
    assert_eq!(mounts(&status, "would_mount", "none"), 1, "{status}");
    assert_eq!(status["dry_run"], true);
    assert_eq!(status["saved_bytes"]["since_start"], 1500);
    assert_eq!(status["hit_rate"], 1.0);
}

#[test]
fn health_has_the_words_of_readyz() {
    let home = Home::new();
    let url = format!("http://127.0.0.1:{}", free_port());
    let sidecar = Sidecar::from(&config(&url, &home.root()));
    let ready = raw_http::get(sidecar.admin, "/readyz").expect(503).text();
    let reason = ready.trim_end().strip_prefix("not ready: ").unwrap();
    let status = status(&sidecar);
    assert_eq!(status["ready"], false);
    assert_eq!(status["reason"], reason);
    let health = &status["health"];
    let registry = json!({"healthy": false, "reason": reason});
    assert_eq!(health["registry"], registry);
    let store = json!({"healthy": true, "reason": null, "verified": false});
    assert_eq!(health["store"], store);
    assert_eq!(health["certificates"], json!([]));
    assert_eq!(health["webhooks"], json!([]));
    assert_eq!(health["token_cache"], Value::Null);
    assert_eq!(health["held_requests"], Value::Null);
}

#[test]
fn certificates_webhooks_and_the_token_cache_are_shown_if_configured() {
    needs!("openssl");
    let home = Home::new();
    let pems = tempfile::tempdir().unwrap();
    signed(pems.path());
    let pem = |name: &str| pems.path().join(name);
    let mut settings = config("http://127.0.0.1:1", &home.root());
    settings["listen"]["tls"] = json!({"certificate": pem("cert.pem"), "key": pem("key.pem")});
    settings["token_endpoint"] = json!({"path": "/token/", "cache": {"enabled": true}});
    let audit = json!({"name": "audit", "url": "http://127.0.0.1:1/"});
    settings["notifications"] = json!({"endpoints": [audit]});
    let health = status(&Sidecar::from(&settings))["health"].take();
    let certificate = &health["certificates"][0];
    assert_eq!(certificate["place"], "listener");
    is_rfc3339(certificate["expires"].as_str().unwrap());
    let idle =
        json!([{"endpoint": "audit", "queue_length": 0, "sent": 0, "failed": 0, "dropped": 0}]);
    assert_eq!(health["webhooks"], idle);
    assert_eq!(health["token_cache"], json!({"hits": 0, "misses": 0}));
}

#[test]
fn a_verified_store_is_called_so() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::start(&registry);
    assert_eq!(status(&sidecar)["health"]["store"]["verified"], false);
    sidecar.verify_store();
    // The health of a moment ago is shown to every viewer.
    wait_until("the store is verified", || {
        status(&sidecar)["health"]["store"]["verified"] == true
    });
    let registry = json!({"healthy": true, "reason": null});
    assert_eq!(status(&sidecar)["health"]["registry"], registry);
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
    let status = status(&sidecar);
    let settings = status["settings"].as_str().unwrap();
    let masked = settings.contains("X-Api-Key:\n    - (masked)\n");
    assert!(masked, "{settings}");
    assert!(settings.contains("time_budget: 3s\n"), "{settings}");
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
        ("/chart.css", "text/css; charset=utf-8"),
        ("/parts.js", "text/javascript; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/chart.js", "text/javascript; charset=utf-8"),
        ("/format.js", "text/javascript; charset=utf-8"),
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
        "/, /status.json, /metrics, /healthz, /readyz and /drained are here\n"
    );
    Request::new("POST", "/").send(sidecar.admin).expect(405);
    // Nothing of it is on the registry's port.
    raw_http::get(sidecar.port, "/status.json").expect(503);
}
