//! Alive is the process alone; ready needs the registry and its folder, and says what it lacks.

use crate::{needs, support};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, ok};
use support::program_run::Home;
use support::raw_http;
use support::sidecar::{BINARY, Sidecar, command, config};
use support::tools;

/// What `/readyz` lacks, in words.
#[track_caller]
fn reason(sidecar: &Sidecar) -> String {
    raw_http::get(sidecar.admin, "/healthz").expect(200);
    let answer = raw_http::get(sidecar.admin, "/readyz").expect(503).text();
    assert_eq!(answer.lines().count(), 1, "{answer}");
    answer.strip_prefix("not ready: ").unwrap().to_owned()
}

#[test]
fn a_responding_registry_and_a_writable_store_are_healthy() {
    let upstream = MisbehavingUpstream::always_answering("heard");
    let home = Home::new();
    let sidecar = Sidecar::from(&config(&upstream.url(), &home.root()));
    assert_eq!(
        raw_http::get(sidecar.admin, "/readyz").expect(200).text(),
        "ready\n"
    );
}

#[test]
fn a_registry_that_is_absent_or_silent_or_no_registry_is_named() {
    let home = Home::new();
    let silent = MisbehavingUpstream::start(|_| {
        std::thread::sleep(Duration::from_secs(5));
        Reply::Close
    });
    let broken = MisbehavingUpstream::start(|_| {
        Reply::Answer(support::misbehaving_upstream::answer(
            "500 Internal Server Error",
            "",
        ))
    });
    let absent = format!("http://127.0.0.1:{}", support::free_port());
    for (url, words) in [
        (absent, "the registry cannot be reached: Connection refused"),
        (
            silent.url(),
            "the registry cannot be reached: no answer in time",
        ),
        (broken.url(), "the registry answers 500"),
    ] {
        let sidecar = Sidecar::from(&config(&url, &home.root()));
        let asked = Instant::now();
        let said = reason(&sidecar);
        assert!(said.contains(words), "{said}");
        // A kubelet waits for a second.
        assert!(asked.elapsed() < Duration::from_secs(4));
    }
}

#[test]
fn a_missing_store_is_named() {
    let upstream = MisbehavingUpstream::start(|_| Reply::Answer(ok("heard")));
    let home = Home::new();
    let sidecar = Sidecar::from(&config(&upstream.url(), &home.root()));
    fs::rename(home.root(), home.root().with_extension("aside")).unwrap();
    assert!(reason(&sidecar).contains("does not exist"));
    fs::rename(home.root().with_extension("aside"), home.root()).unwrap();
    raw_http::get(sidecar.admin, "/readyz").expect(200);
}

/// Mounts the folder over itself, in the sidecar's own view of the file system.
fn in_a_view_of_its_own(root: &Path) -> Command {
    let script = format!("mount --bind '{0}' '{0}' && exec \"$@\"", root.display());
    let mut command = command("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh", BINARY]);
    command
}

#[test]
fn a_store_that_became_read_only_is_named() {
    needs!("unshare", "nsenter", "mount");
    if !tools::is_root() {
        tools::skip("only root can mount");
        return;
    }
    let upstream = MisbehavingUpstream::always_answering("heard");
    let home = Home::new();
    let settings = config(&upstream.url(), &home.root());
    let sidecar = Sidecar::launch(in_a_view_of_its_own(&home.root()), &settings);
    raw_http::get(sidecar.admin, "/readyz").expect(200);
    let remount = |how: &str| {
        let mut command = Command::new("nsenter");
        let id = sidecar.id().to_string();
        command.args(["--target", &id, "--mount", "mount", "-o"]);
        tools::run(command.arg(format!("remount,bind,{how}")).arg(home.root()));
    };
    remount("ro");
    let said = reason(&sidecar);
    assert!(said.contains("Read-only file system"), "{said}");
    remount("rw");
    raw_http::get(sidecar.admin, "/readyz").expect(200);
}
