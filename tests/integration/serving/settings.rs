//! Settings by flags and environment, and what is said of wrong ones.

use crate::support;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use support::misbehaving_upstream::MisbehavingUpstream;
use support::program_run::{GOOD, Home, refuses, run};
use support::sidecar::{BINARY, Sidecar, command};

#[test]
fn a_bad_value_is_named() {
    let home = Home::new();
    for (from, to, word) in [
        ("http://127.0.0.1:1", "127.0.0.1:1", "upstream.url"),
        ("http://127.0.0.1:1", "ftp://127.0.0.1:1", "upstream.url"),
        ("http://127.0.0.1:1", "http://", "upstream.url"),
        (
            "http://127.0.0.1:1",
            "http://127.0.0.1:99999",
            "upstream.url",
        ),
        (
            "http://127.0.0.1:1",
            "http://127.0.0.1:1/path",
            "upstream.url",
        ),
        (
            "listen: {address: '127.0.0.1:0'}",
            "listen: {address: nonsense}",
            "listen.address",
        ),
        (
            "admin: {address: '127.0.0.1:0'}",
            "admin: {address: '127.0.0.1:99999'}",
            "admin.address",
        ),
        ("mode: none", "mode: sometimes", "mode"),
        (
            "access:",
            "mount: {time_budget: soon}\naccess:",
            "time_budget",
        ),
        (
            "access:",
            "mount: {time_budget: -1s}\naccess:",
            "time_budget",
        ),
        (
            "access:",
            "mount: {time_budget: 5}\naccess:",
            "time_budget|line 5",
        ),
        (
            "access:",
            "mount: {source_denied: perhaps}\naccess:",
            "source_denied",
        ),
        ("access:", "mount: {dry_run: perhaps}\naccess:", "dry_run"),
        (
            "access:",
            "shutdown: {drain_delay: 1 fortnight}\naccess:",
            "drain_delay",
        ),
        ("access:", "log: {level: loud}\naccess:", "level"),
        ("access:", "log: {format: poem}\naccess:", "format"),
        ("'ROOT'", "relative/folder", "rootdirectory"),
    ] {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        refuses(home.with("serve", &text), &[word]);
        let mut offline = home.with("check", &text);
        offline.arg("--offline");
        let ended = run(offline);
        assert_ne!(ended.code, Some(0), "{to}");
    }
}

/// A command with everything that it needs, by environment alone.
fn by_environment(upstream: &str, root: &Path) -> Command {
    let mut command = command(BINARY);
    command
        .env("CROSSMOUNT_LISTEN_ADDRESS", "127.0.0.1:0")
        .env("CROSSMOUNT_ADMIN_ADDRESS", "127.0.0.1:0")
        .env("CROSSMOUNT_UPSTREAM_URL", upstream)
        .env("CROSSMOUNT_STORE_FILESYSTEM_ROOTDIRECTORY", root)
        .env("CROSSMOUNT_ACCESS_MODE", "none");
    command
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let home = Home::new();
    let [file, environment, flag] =
        ["file", "environment", "flag"].map(MisbehavingUpstream::always_answering);
    let says = |command: Command| {
        let sidecar = Sidecar::run(command);
        sidecar.client().get("/v2/").expect(200).text()
    };
    let text = GOOD.replace("http://127.0.0.1:1", &file.url());
    assert_eq!(says(home.with("serve", &text)), "file");
    let mut both = home.with("serve", &text);
    both.env("CROSSMOUNT_UPSTREAM_URL", environment.url());
    assert_eq!(says(both), "environment");
    let mut all = home.with("serve", &text);
    all.env("CROSSMOUNT_UPSTREAM_URL", environment.url());
    all.args(["--upstream", &flag.url()]);
    assert_eq!(says(all), "flag");

    let mut alone = command(BINARY);
    alone
        .env("CROSSMOUNT_ACCESS_MODE", "none")
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--upstream", &flag.url(), "--root"])
        .arg(home.root());
    assert_eq!(says(alone), "flag");
    let mut without_file = by_environment(&environment.url(), &home.root());
    without_file.arg("serve");
    assert_eq!(says(without_file), "environment");
}

#[test]
fn a_bad_value_in_the_environment_is_named() {
    let home = Home::new();
    for (name, value) in [
        ("CROSSMOUNT_UPSTREAM_URL", "nonsense"),
        ("CROSSMOUNT_MOUNT_TIME_BUDGET", "soon"),
        ("CROSSMOUNT_MOUNT_DRY_RUN", "perhaps"),
        ("CROSSMOUNT_ACCESS_MODE", "sometimes"),
    ] {
        let mut bad = home.with("serve", GOOD);
        bad.env(name, value);
        let ended = run(bad);
        assert_ne!(ended.code, Some(0));
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        assert!(ended.err.starts_with("crossmount: "), "{}", ended.err);
    }
}

#[test]
fn an_unknown_variable_is_one_warning() {
    let home = Home::new();
    let upstream = MisbehavingUpstream::always_answering("fine");
    let mut command = by_environment(&upstream.url(), &home.root());
    command
        .arg("serve")
        .env("CROSSMOUNT_PORT", "tcp://10.0.0.1:5000")
        .env("CROSSMOUNT_SERVICE_HOST", "10.0.0.1")
        .env("CROSSMOUNT_PORT_5000_TCP_ADDR", "10.0.0.1");
    let sidecar = Sidecar::run(command);
    sidecar.client().get("/v2/").expect(200);
    let log = sidecar.log();
    for name in [
        "CROSSMOUNT_PORT",
        "CROSSMOUNT_SERVICE_HOST",
        "CROSSMOUNT_PORT_5000_TCP_ADDR",
    ] {
        assert!(log.contains(name), "{log}");
    }
    let warnings: Vec<_> = log
        .lines()
        .filter(|line| line.contains("CROSSMOUNT_"))
        .collect();
    for line in &warnings {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "WARN");
    }
    assert!(warnings.len() == 1 || warnings.len() == 3, "{warnings:?}");
}

#[test]
fn the_log_can_be_text() {
    let home = Home::new();
    let mut process = home
        .with("serve", &format!("{GOOD}log: {{format: text}}\n"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = process.stderr.take().unwrap();
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains("listening") {
        let count = err.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "{text}");
        text += &String::from_utf8_lossy(&buffer[..count]);
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(!text.starts_with('{'), "{text}");
}
