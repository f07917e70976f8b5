//! Starting, refusing to start, checking, and ending.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod support;

use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::faulty::{Faulty, Verdict, ok};
use support::registry::Registry;
use support::sidecar::{BINARY, Sidecar, command, config};
use support::store::listing;
use support::{tools, wait_until, wire};

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the binary to its end, which must come soon.
#[track_caller]
fn run(mut command: Command) -> Ended {
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break Some(status);
        }
        // Under a second is the promise; the machines that run this are noisy.
        if start.elapsed() > Duration::from_secs(5) {
            process.kill().unwrap();
            process.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (mut out, mut err) = (String::new(), String::new());
    process.stdout.unwrap().read_to_string(&mut out).unwrap();
    process.stderr.unwrap().read_to_string(&mut err).unwrap();
    let Some(status) = status else {
        panic!("still running after five seconds:\n{out}\n{err}");
    };
    Ended {
        code: status.code(),
        out,
        err,
    }
}

/// A start that fails with one clear line that says all of `words`, of `one|other` one or the other.
#[track_caller]
fn refuses(command: Command, words: &[&str]) {
    let ended = run(command);
    let err = &ended.err;
    assert!(
        ended.code.is_some_and(|code| code != 0),
        "{:?}\n{err}",
        ended.code
    );
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.starts_with("crossmount: "), "{err}");
    assert!(!err.contains("panicked"), "{err}");
    assert_eq!(ended.out, "");
    for word in words {
        let said = word.split('|').any(|word| err.contains(word));
        assert!(said, "no {word:?} in: {err}");
    }
}

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.root()).unwrap();
        home
    }

    fn root(&self) -> std::path::PathBuf {
        self.0.path().join("root")
    }

    /// `serve` or `check` with this text as configuration; `ROOT` stands for a good folder.
    fn with(&self, verb: &str, text: &str) -> Command {
        let file = self.0.path().join("crossmount.yml");
        let text = text.replace("ROOT", &self.root().to_string_lossy());
        fs::write(&file, text).unwrap();
        let mut command = command(BINARY);
        command.arg(verb).arg("--config").arg(file);
        command
    }
}

const GOOD: &str = "\
listen: {address: '127.0.0.1:0'}
admin: {address: '127.0.0.1:0'}
upstream: {url: 'http://127.0.0.1:1'}
store: {filesystem: {rootdirectory: 'ROOT'}}
access: {mode: none}
";

#[test]
fn a_wrong_key_is_named_with_its_line() {
    let home = Home::new();
    for (text, key, line) in [
        (format!("{GOOD}stor: 1\n"), "stor", "line 6"),
        (GOOD.replace("access:", "acess:"), "acess", "line 5"),
        (
            format!("{GOOD}mount:\n  time_budget: 1s\n  dry-run: true\n"),
            "dry-run",
            "line 8",
        ),
        (
            GOOD.replace(
                "{url: 'http://127.0.0.1:1'}",
                "\n  url: http://127.0.0.1:1\n  timeouts:\n    raed: 1s",
            ),
            "raed",
            "line 6",
        ),
        (GOOD.replace("rootdirectory", "root"), "root", "line 4"),
        (format!("{GOOD}port: 5000\n"), "port", "line 6"),
        (
            format!("{GOOD}log: {{level: info, colour: red}}\n"),
            "colour",
            "line 6",
        ),
    ] {
        for verb in ["serve", "check"] {
            refuses(home.with(verb, &text), &[key, line]);
        }
    }
}

#[test]
fn a_file_that_is_not_a_configuration_is_refused() {
    let home = Home::new();
    refuses(home.with("serve", "listen: [\n"), &["crossmount.yml"]);
    refuses(home.with("serve", "just words"), &[]);
    refuses(
        home.with("serve", &format!("{GOOD}access: {{mode: none}}\n")),
        &["access"],
    );
    let mut missing = command(BINARY);
    missing.args(["serve", "--config", "/nowhere/crossmount.yml"]);
    refuses(missing, &["/nowhere/crossmount.yml"]);
}

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

#[test]
fn a_setting_that_is_not_built_yet_is_said_to_be_so() {
    let home = Home::new();
    for addition in [
        "discovery: {enabled: true}",
        "token_endpoint: {cache: {enabled: true}}",
        "notifications: {endpoints: [{name: a, url: 'http://127.0.0.1:1'}]}",
    ] {
        let text = format!("{GOOD}{addition}\n");
        refuses(
            home.with("serve", &text),
            &["not supported in this version"],
        );
    }
    for (from, to) in [
        ("mode: none", "mode: token"),
        ("mode: none", "mode: htpasswd"),
        ("upstream: {", "upstream: {kind: pulp, "),
        ("upstream: {", "upstream: {kind: generic, "),
        ("store: {", "store: {verify: sha256, "),
    ] {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        refuses(
            home.with("serve", &text),
            &["not supported in this version"],
        );
    }
}

#[test]
fn a_folder_that_is_missing_or_no_folder_is_refused() {
    let home = Home::new();
    let text = GOOD.replace("ROOT", "ROOT/missing");
    let missing = home.root().join("missing");
    refuses(home.with("serve", &text), &[&missing.to_string_lossy()]);
    fs::write(&missing, "a file").unwrap();
    refuses(home.with("serve", &text), &[&missing.to_string_lossy()]);
}

#[test]
fn a_folder_of_another_user_is_refused() {
    let home = Home::new();
    if tools::is_root() {
        std::os::unix::fs::chown(home.root(), Some(12345), Some(12345)).unwrap();
        let root = home.root();
        refuses(
            home.with("serve", GOOD),
            &[&root.to_string_lossy(), "12345"],
        );
    } else {
        refuses(home.with("serve", &GOOD.replace("ROOT", "/usr")), &["/usr"]);
    }
}

#[test]
fn folders_of_another_user_inside_the_store_are_refused() {
    if !tools::is_root() {
        return tools::skip("only root gives folders away");
    }
    let home = Home::new();
    let inner = home.root().join("docker/registry/v2/repositories");
    fs::create_dir_all(&inner).unwrap();
    std::os::unix::fs::chown(&inner, Some(12345), Some(12345)).unwrap();
    refuses(home.with("serve", GOOD), &["repositories", "12345"]);
}

#[test]
fn a_port_in_use_is_named() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for which in ["listen", "admin"] {
        let good = format!("{which}: {{address: '127.0.0.1:0'}}");
        let text = GOOD.replace(&good, &format!("{which}: {{address: '{address}'}}"));
        refuses(home.with("serve", &text), &[&address]);
    }
    let same = GOOD.replace(
        "127.0.0.1:0",
        &format!("127.0.0.1:{}", support::free_port()),
    );
    refuses(home.with("serve", &same), &[]);
}

#[test]
fn bad_tls_files_are_refused() {
    needs!("openssl");
    let home = Home::new();
    let [key, certificate, other] =
        ["key.pem", "cert.pem", "other.pem"].map(|name| home.0.path().join(name));
    support::tokens::self_signed(&key, &certificate);
    support::tokens::self_signed(&other, &home.0.path().join("unused.pem"));
    let nonsense = home.0.path().join("nonsense.pem");
    fs::write(&nonsense, "nonsense").unwrap();
    let missing = home.0.path().join("missing.pem");
    for (certificate, key, bad) in [
        (&missing, &key, Some(&missing)),
        (&certificate, &missing, Some(&missing)),
        (&nonsense, &key, Some(&nonsense)),
        (&certificate, &nonsense, Some(&nonsense)),
        (&certificate, &other, None),
    ] {
        let tls = format!(
            "listen: {{address: '127.0.0.1:0', tls: {{certificate: '{}', key: '{}'}}}}",
            certificate.display(),
            key.display()
        );
        let text = GOOD.replace("listen: {address: '127.0.0.1:0'}", &tls);
        let bad = bad.map(|file| file.to_string_lossy().into_owned());
        let words: Vec<&str> = bad.as_deref().into_iter().collect();
        refuses(home.with("serve", &text), &words);
    }
    for bad in [&missing, &nonsense] {
        let upstream = format!("upstream: {{ca_certificate: '{}', ", bad.display());
        let text = GOOD
            .replace("upstream: {", &upstream)
            .replace("http://", "https://");
        refuses(home.with("serve", &text), &[&bad.to_string_lossy()]);
    }
}

#[test]
fn no_arguments_and_wrong_ones_explain_themselves() {
    for args in [&[] as &[&str], &["serve", "--what"], &["dance"]] {
        let mut wrong = command(BINARY);
        wrong.args(args);
        let ended = run(wrong);
        assert_ne!(ended.code, Some(0), "{args:?}");
        assert!(
            ended.err.contains("Usage") || ended.out.contains("Usage"),
            "{}",
            ended.err
        );
        assert!(!ended.err.contains("panicked"));
    }
    let mut version = command(BINARY);
    version.arg("--version");
    let ended = run(version);
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        ended.out,
        concat!("crossmount ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let mut help = command(BINARY);
    help.args(["serve", "--help"]);
    let ended = run(help);
    assert_eq!(ended.code, Some(0));
    for flag in ["--config", "--listen", "--admin", "--upstream", "--root"] {
        assert!(ended.out.contains(flag), "{flag}");
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
    let [file, environment, flag] = ["file", "environment", "flag"].map(Faulty::saying);
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
    let upstream = Faulty::saying("fine");
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

fn check(registry: &Registry, change: impl FnOnce(&mut serde_json::Value)) -> Ended {
    let mut config = config(&registry.url(), &registry.store.root);
    change(&mut config);
    let file = registry.home().join("crossmount.yml");
    fs::write(&file, config.to_string()).unwrap();
    let mut command = command(BINARY);
    command.arg("check").arg("--config").arg(&file);
    run(command)
}

#[test]
fn a_check_that_finds_all_well_leaves_nothing_behind() {
    needs!("docker-registry");
    let registry = Registry::start();
    let digest = registry.client().upload("a", b"something in the store");
    registry.client().mount("b", &digest, "a").expect(201);
    let before = listing(&registry.store.root);
    let ended = check(&registry, |_| ());
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(ended.out.lines().count() >= 2, "{}", ended.out);
    let names = |listing: std::collections::BTreeMap<String, _>| -> Vec<_> {
        listing.into_keys().collect()
    };
    assert_eq!(names(listing(&registry.store.root)), names(before));
}

#[test]
fn a_check_on_an_empty_volume_leaves_it_empty() {
    needs!("docker-registry");
    let registry = Registry::start();
    fs::create_dir_all(&registry.store.root).unwrap();
    let ended = check(&registry, |_| ());
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert_eq!(listing(&registry.store.root).len(), 0);
}

#[test]
fn a_check_finds_a_store_that_cannot_be_written() {
    needs!("docker-registry");
    let registry = Registry::start();
    let digest = registry.client().upload("a", b"something in the store");
    let repositories = registry.store.top().join("repositories");
    let before = listing(&registry.store.root);
    // Root writes where it likes, but not in folders of another user, where the registry could not follow.
    if tools::is_root() {
        std::os::unix::fs::chown(&repositories, Some(12345), Some(12345)).unwrap();
    } else {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o555);
        fs::set_permissions(&repositories, mode).unwrap();
    }
    let ended = check(&registry, |_| ());
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    let said = ended.out + &ended.err;
    assert!(
        said.contains(&*registry.store.root.to_string_lossy()),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
    if !tools::is_root() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&repositories, mode).unwrap();
    }
    assert_eq!(listing(&registry.store.root).len(), before.len());
    assert!(registry.store.link("a", &digest).exists());
}

#[test]
fn a_check_finds_access_control_behind_none() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    fs::create_dir_all(&registry.store.root).unwrap();
    let ended = check(&registry, |_| ());
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("access.mode"), "{}", ended.out);
    let ended = check(&registry, |config| {
        config["access"] = json!({"mode": "upstream"});
    });
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
}

#[test]
fn none_before_a_registry_with_access_control_is_a_loud_warning() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let sidecar = Sidecar::start(&registry);
    wait_until("it warns", || {
        sidecar.log().lines().any(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let level = line["level"].as_str().unwrap();
            ["WARN", "ERROR"].contains(&level) && line.to_string().contains("access.mode")
        })
    });
}

#[test]
fn a_check_finds_that_the_registry_is_absent() {
    needs!("docker-registry");
    let mut registry = Registry::start();
    registry.kill();
    fs::create_dir_all(&registry.store.root).unwrap();
    let ended = check(&registry, |_| ());
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains(&registry.url()), "{}", ended.out);
    assert_eq!(listing(&registry.store.root).len(), 0);
}

#[test]
fn an_offline_check_opens_only_the_configuration() {
    let home = Home::new();
    let text = GOOD.replace("ROOT", "/nowhere/at/all");
    let mut offline = home.with("check", &text);
    offline.arg("--offline");
    let ended = run(offline);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let mut wrong = home.with("check", &format!("{text}stor: 1\n"));
    wrong.arg("--offline");
    let ended = run(wrong);
    assert_ne!(ended.code, Some(0));
    let said = ended.out + &ended.err;
    assert!(said.contains("stor") && said.contains("line 6"), "{said}");
}

/// An upstream that answers when it is told to, and a sidecar that ends without delay.
fn slow(drain_delay: &str) -> (Sidecar, mpsc::Sender<()>, Faulty, Home) {
    let (tell, told) = mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let upstream = Faulty::start(move |heard| {
        if heard.target.contains("slow") {
            told.lock().unwrap().recv().unwrap();
        }
        Verdict::Answer(ok("in the end"))
    });
    let home = Home::new();
    let mut config = config(&upstream.url(), &home.root());
    config["shutdown"] = json!({"drain_delay": drain_delay, "timeout": "30s"});
    (Sidecar::from(&config), tell, upstream, home)
}

#[test]
fn a_terminated_process_ends_when_what_is_in_flight_is_done() {
    let (mut sidecar, tell, upstream, _home) = slow("0s");
    let client = sidecar.client();
    let waiting = std::thread::spawn(move || client.get("/v2/slow"));
    wait_until("the request is in flight", || upstream.count("GET") == 1);
    sidecar.signal(Signal::TERM);
    wait_until("the listener is closed", || {
        wire::Connection::to(sidecar.port).is_err()
    });
    assert!(sidecar.is_running());
    tell.send(()).unwrap();
    assert_eq!(waiting.join().unwrap().expect(200).text(), "in the end");
    assert_eq!(sidecar.ended().code(), Some(0));
}

#[test]
fn before_it_closes_the_listener_it_is_not_ready_but_still_answers() {
    let (mut sidecar, _tell, _upstream, _home) = slow("2s");
    wait_until("it is ready", || {
        wire::get(sidecar.admin, "/readyz").status == 200
    });
    sidecar.signal(Signal::TERM);
    wait_until("it is not ready", || {
        wire::get(sidecar.admin, "/readyz").status == 503
    });
    sidecar.client().get("/v2/").expect(200);
    wire::get(sidecar.admin, "/healthz").expect(200);
    assert_eq!(sidecar.ended().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut sidecar, tell, upstream, _home) = slow("30s");
    let client = sidecar.client();
    let waiting =
        std::thread::spawn(move || client.request("GET", "/v2/slow").try_send(client.port));
    wait_until("the request is in flight", || upstream.count("GET") == 1);
    let start = Instant::now();
    sidecar.signal(Signal::TERM);
    wait_until("it is not ready", || {
        wire::get(sidecar.admin, "/readyz").status == 503
    });
    sidecar.signal(Signal::TERM);
    sidecar.ended();
    assert!(start.elapsed() < Duration::from_secs(20));
    let _ = tell.send(());
    assert!(waiting.join().unwrap().is_err());
}

#[test]
fn an_interrupt_ends_it_too() {
    let (mut sidecar, _tell, _upstream, _home) = slow("0s");
    sidecar.client().get("/v2/").expect(200);
    sidecar.signal(Signal::INT);
    assert_eq!(sidecar.ended().code(), Some(0));
}
