//! One line for each request, which names it and says what became of it.

use crate::{needs, support};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Stdio};
use std::time::Duration;
use support::misbehaving_upstream::{MisbehavingUpstream, Reply};
use support::program_run::Home;
use support::raw_http::{self, Connection, Request};
use support::registry::Registry;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::{BINARY, Sidecar, command, config};
use support::{digest_of, free_port, wait_until};

/// A line without what differs from run to run, once that was seen to be there.
fn essence(line: &Value) -> Value {
    let mut line = line.clone();
    let members = line.as_object_mut().unwrap();
    assert!(members.remove("timestamp").unwrap().is_string());
    assert!(members.remove("seconds").unwrap().as_f64().unwrap() > 0.0);
    if let Some(seconds) = members.remove("upstream_seconds") {
        assert!(seconds.as_f64().unwrap() > 0.0);
    }
    line
}

#[test]
fn each_request_has_one_line() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let digest = registry.client().upload("source", b"layer");
    let before = sidecar.log_lines_with("request", 2).len();
    let client = sidecar.client().header("X-Request-Id", "theirs");
    // A line comes after its answer, so the next request waits for it.
    client.mount("target", &digest, "source").expect(201);
    sidecar.log_lines_with("request", before + 1);
    client
        .mount("target", &digest_of(b"unheard of"), "source")
        .expect(202);
    sidecar.log_lines_with("request", before + 2);
    client
        .get("/v2/target/manifests/none?n=1&last=x")
        .expect(404);
    let seen = sidecar
        .log_lines_with("request", before + 3)
        .split_off(before);
    assert_eq!(seen.len(), 3);
    let mount = |outcome: &str, reason: &str, digest: &str| {
        json!({
            "level": "INFO", "message": "request", "request_id": "theirs", "method": "POST",
            "path": "/v2/target/blobs/uploads/", "outcome": outcome, "reason": reason,
            "target": "target", "source": "source", "digest": digest, "received": 0, "sent": 0,
        })
    };
    let mut mounted = mount("mounted", "none", &digest);
    mounted["status"] = json!(201);
    assert_eq!(essence(&seen[0]), mounted);
    assert_eq!(seen[0].get("upstream_seconds"), None);
    let mut missed = mount("forwarded", "source_missing", &digest_of(b"unheard of"));
    missed["status"] = json!(202);
    assert_eq!(essence(&seen[1]), missed);
    let sent = seen[2]["sent"].as_u64().unwrap();
    let other = json!({
        "level": "INFO", "message": "request", "request_id": "theirs", "method": "GET",
        "path": "/v2/target/manifests/none", "status": 404, "received": 0, "sent": sent,
    });
    assert_eq!(essence(&seen[2]), other);
    assert!(sent > 0 && seen[2]["upstream_seconds"].as_f64().unwrap() > 0.0);
    // What the registry's own log does not see can be found by the same name.
    assert_eq!(
        sidecar.log_lines_with("layer link written", 1)[0]["request_id"],
        "theirs"
    );
}

#[test]
fn a_name_is_kept_or_made_and_passed_on() {
    let upstream = MisbehavingUpstream::always_answering("heard");
    let home = Home::new();
    let sidecar = Sidecar::from(&config(&upstream.url(), &home.root()));
    let given = [Some("theirs-1"), None, Some("two words"), Some("")];
    for (position, name) in given.into_iter().enumerate() {
        let request = Request::new("GET", "/v2/");
        let request = match name {
            Some(name) => request.header("X-Request-Id", name),
            None => request,
        };
        let answer = request.send(sidecar.port).expect(200);
        assert_eq!(answer.header("X-Request-Id"), None);
        // A line comes after its answer, so the next request waits for it.
        sidecar.log_lines_with("request", position + 1);
    }
    let logged = sidecar.log_lines_with("request", given.len());
    let mut names = Vec::new();
    for (heard, line) in upstream.heard().iter().zip(&logged) {
        let name = heard.header("X-Request-Id").unwrap();
        assert_eq!(line["request_id"], name);
        names.push(name.to_owned());
    }
    assert_eq!(names[0], "theirs-1");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), given.len());
    assert!(
        !names
            .iter()
            .any(|name| name.is_empty() || name.contains(' '))
    );
}

#[test]
fn a_question_of_our_own_has_no_name_of_the_clients() {
    let registry = ScriptedRegistry::start(|_| None);
    let sidecar = registry.sidecar(|config| config["access"] = json!({"mode": "upstream"}));
    let digest = registry.plant("source", b"blob");
    let alice = sidecar.client().basic("alice", "right");
    let named = alice.header("X-Request-Id", "theirs");
    named.mount("target", &digest, "source").expect(201);
    assert_eq!(registry.heard("PATCH")[0].header("X-Request-Id"), None);
}

#[test]
fn text_is_a_line_too() {
    let upstream = MisbehavingUpstream::always_answering("heard");
    let home = Home::new();
    let mut config = config(&upstream.url(), &home.root());
    config["log"] = json!({"format": "text"});
    let sidecar = Sidecar::from(&config);
    sidecar.client().get("/v2/?secret").expect(200);
    wait_until("the line is in the log", || {
        sidecar.log().lines().any(|line| {
            let parts = [" INFO ", "method=\"GET\"", "path=\"/v2/\"", "status=200"];
            parts.iter().all(|part| line.contains(part)) && !line.contains("secret")
        })
    });
}

#[test]
fn health_checks_and_scrapes_are_silent() {
    let upstream = MisbehavingUpstream::always_answering("heard");
    let home = Home::new();
    let sidecar = Sidecar::from(&config(&upstream.url(), &home.root()));
    for path in ["/healthz", "/readyz", "/metrics"] {
        raw_http::get(sidecar.admin, path).expect(200);
    }
    // Lines come in their order.
    sidecar.client().get("/v2/last").expect(200);
    let all = sidecar.log_lines_with("request", 1);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["path"], "/v2/last");
    for path in ["healthz", "readyz", "metrics"] {
        assert!(!sidecar.log().contains(path));
    }
}

#[test]
fn a_registry_that_is_absent_is_a_warning_and_a_calm_answer() {
    let home = Home::new();
    let absent = format!("http://127.0.0.1:{}", free_port());
    let sidecar = Sidecar::from(&config(&absent, &home.root()));
    for _ in 0..3 {
        let answer = sidecar.client().get("/v2/").expect(503);
        assert_eq!(answer.header("Retry-After"), Some("1"));
    }
    let all = sidecar.log_lines_with("request", 3);
    assert_eq!(all.len(), 3);
    for line in &all {
        assert_eq!(
            (&line["level"], &line["status"]),
            (&json!("WARN"), &json!(503))
        );
        assert!(
            line["error"].as_str().unwrap().contains("ConnectRefused"),
            "{line}"
        );
    }
    // Nothing is said beside these lines.
    let warnings = sidecar.log().matches("\"level\":\"WARN\"").count();
    assert_eq!(warnings, 3, "{}", sidecar.log());
    assert!(
        !sidecar.log().contains("\"level\":\"ERROR\""),
        "{}",
        sidecar.log()
    );
}

#[test]
fn a_client_that_goes_away_is_no_warning() {
    let upstream = MisbehavingUpstream::start(|_| {
        std::thread::sleep(Duration::from_millis(300));
        Reply::Answer(support::misbehaving_upstream::ok("late"))
    });
    let home = Home::new();
    let sidecar = Sidecar::from(&config(&upstream.url(), &home.root()));
    let mut connection = Connection::to(sidecar.port).unwrap();
    let request = Request::new("PUT", "/v2/a/blobs/uploads/x").body(b"whole body");
    let bytes = request.bytes(sidecar.port);
    connection.write(&bytes[..bytes.len() - 1]).unwrap();
    drop(connection);
    let line = &sidecar.log_lines_with("request", 1)[0];
    assert_eq!(line["level"], "INFO", "{line}");
    assert_eq!(line.get("status"), None);
    assert!(line["error"].is_string());
}

/// A sidecar whose log nobody reads after its ports are known.
fn unread(config: &Value) -> (Child, ChildStderr, u16, u16) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("crossmount.yml");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut process = command(BINARY)
        .args(["serve", "--config"])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::with_capacity(1, process.stderr.take().unwrap());
    let mut ports = [0, 0];
    while ports.contains(&0) {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = line["address"].as_str().unwrap_or_default();
        let port = address.rsplit(':').next().unwrap().parse().unwrap_or(0);
        match line["listener"].as_str() {
            Some("registry") => ports[0] = port,
            Some("admin") => ports[1] = port,
            _ => {}
        }
    }
    (process, log.into_inner(), ports[0], ports[1])
}

#[test]
fn a_log_without_a_reader_blocks_no_request() {
    let upstream = MisbehavingUpstream::always_answering("heard");
    let home = Home::new();
    let mut config = config(&upstream.url(), &home.root());
    config["shutdown"] = json!({"drain_delay": "0s"});
    let (mut process, _log, port, admin) = unread(&config);
    let lost = || {
        let metrics = raw_http::get(admin, "/metrics").expect(200).text();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("crossmount_log_lines_dropped_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(lost(), 0);
    let request = Request::new("GET", &format!("/v2/{}", "x".repeat(400))).bytes(port);
    let mut connection = Connection::to(port).unwrap();
    let mut sent = 0;
    while lost() == 0 {
        assert!(sent < 60_000, "no line was lost");
        for _ in 0..1000 {
            connection.write(&request).unwrap();
            assert_eq!(connection.answer("GET").unwrap().status, 200);
            sent += 1;
        }
    }
    kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
    wait_until("it ends", || process.try_wait().unwrap().is_some());
}

/// What clients, and a registry that ends kept connections, do at any time.
#[test]
fn what_clients_do_at_any_time_is_for_debugging_alone() {
    let upstream = MisbehavingUpstream::start(|heard| match (&*heard.method, heard.nth) {
        // The second request on a kept connection finds it dead.
        ("GET", 1) => Reply::Close,
        ("GET", _) => Reply::Answer(support::misbehaving_upstream::ok("heard")),
        _ => Reply::AnswerAndClose(support::misbehaving_upstream::answer("413 Too Large", "")),
    });
    let home = Home::new();
    let mut config = config(&upstream.url(), &home.root());
    config["log"] = json!({"level": "debug"});
    let sidecar = Sidecar::from(&config);
    let ports = [sidecar.port, sidecar.admin];
    for bytes in [
        "G",
        "GET /v2/ HTTP/1.1\r\nHo",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nAuthorization: Basic secret\r\nA B\r\n\r\n",
        "\r\n\0\0",
    ] {
        for port in ports {
            let mut connection = Connection::to(port).unwrap();
            connection.write(bytes.as_bytes()).unwrap();
        }
    }
    for _ in 0..6 {
        let mut connection = Connection::to(sidecar.port).unwrap();
        connection
            .write(b"PUT /v2/a HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
            .unwrap();
        let _ = connection.write(&vec![b'x'; 200_000]);
    }
    for _ in 0..8 {
        sidecar.client().get("/v2/").expect(200);
    }
    let said = |level: &str| -> Vec<String> {
        let log = sidecar.log();
        let level = format!("\"level\":\"{level}\"");
        log.lines()
            .filter(|line| line.contains(&level))
            .map(str::to_owned)
            .collect()
    };
    wait_until("a client's doing is said", || {
        let said = said("DEBUG").join("\n");
        said.contains("client connection failed") && said.contains("request retried")
    });
    assert!(!sidecar.log().contains("secret"));
    assert_eq!(said("ERROR"), Vec::<String>::new());
    let warnings = said("WARN");
    let is_ours = |line: &&String| line.contains("\"message\":\"request\"");
    assert_eq!(
        warnings.iter().filter(|line| !is_ours(line)).count(),
        0,
        "{warnings:#?}"
    );
}
