//! `check`: it finds what is wrong, says what to do, and leaves nothing behind.

use crate::{needs, support};
use serde_json::json;
use std::fs;
use support::access_control::htpasswd_mode;
use support::program_run::{GOOD, Home, check, check_command, run};
use support::registry::Registry;
use support::sidecar::{BINARY, Sidecar, command, config};
use support::store::listing;
use support::token_issuer::TokenIssuer;
use support::{tools, wait_until};

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
fn a_check_reports_which_blobs_are_verified() {
    needs!("docker-registry");
    let registry = Registry::start();
    let all = check(&registry, |_| ());
    assert!(!all.out.contains("ok: store.verify"), "{}", all.out);
    let hashed = check(&registry, |config| {
        config["store"]["verify"] = "sha256".into();
        config["store"]["verify_rate"] = "1MiB".into();
    });
    assert_eq!(hashed.code, Some(0), "{}{}", hashed.out, hashed.err);
    let said = "ok: store.verify is sha256: crossmount answers mounts only for blobs that it has \
                hashed, at most 1048576 bytes a second";
    assert!(hashed.out.contains(said), "{}", hashed.out);
    assert!(hashed.out.contains("verify_rate: 1MiB"), "{}", hashed.out);
}

#[test]
fn a_check_on_an_empty_volume_leaves_it_empty() {
    needs!("docker-registry");
    let registry = Registry::start();
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
    let ended = check(&registry, |_| ());
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("access.mode"), "{}", ended.out);
    let ended = check(&registry, |config| {
        config["access"] = json!({"mode": "upstream"});
    });
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
}

#[test]
fn a_check_reads_the_files_that_decide() {
    needs!("docker-registry", "htpasswd", "openssl");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let ended = check(&registry, htpasswd_mode(&registry));
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("ok: the password file can be read"));
    let tokens = TokenIssuer::new();
    let ended = check(&registry, |config| tokens.verify_here(config));
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(
        ended
            .out
            .contains("ok: the keys that tokens are signed with")
    );
    fs::write(tokens.certificate(), "nonsense").unwrap();
    let ended = check(&registry, |config| tokens.verify_here(config));
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    let fault = "fault: access.token: ";
    assert!(ended.out.contains(fault), "{}", ended.out);
    assert!(ended.out.contains("holds no certificate"), "{}", ended.out);
}

#[test]
fn a_check_finds_that_a_registry_with_passwords_has_none() {
    needs!("docker-registry", "htpasswd");
    let passwords = Registry::with_htpasswd(&[("alice", "right")]);
    let open = Registry::start();
    let ended = check(&open, htpasswd_mode(&passwords));
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(
        ended.out.contains("set access.mode to none"),
        "{}",
        ended.out
    );
}

#[test]
fn none_before_a_registry_with_access_control_is_a_loud_warning() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let sidecar = Sidecar::start(&registry);
    wait_until("it warns", || {
        sidecar.log_lines().iter().any(|line| {
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

#[test]
fn a_check_reports_its_user_and_file_system() {
    needs!("docker-registry");
    let registry = Registry::start();
    registry.client().upload("a", b"something in the store");
    let ended = check(&registry, |config| {
        config["upstream"]["response_headers"] = json!({"X-Secret": ["hunter2"]});
    });
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let (user, version) = (rustix::process::geteuid(), env!("CARGO_PKG_VERSION"));
    let root = registry.store.root.display();
    for part in [
        format!("ok: crossmount {version} on Linux "),
        format!("ok: this process is user {}, group ", user.as_raw()),
        format!("{root} belongs to user {}", user.as_raw()),
        format!(
            "ok: {} is on ",
            registry.store.root.canonicalize().unwrap().display()
        ),
        "the configuration in effect:\n  listen:\n".to_owned(),
        "      - (masked)".to_owned(),
    ] {
        assert!(ended.out.contains(&part), "{part}: {}", ended.out);
    }
    assert!(!ended.out.contains("hunter2"));
}

#[test]
fn a_check_compares_the_registrys_own_configuration() {
    needs!("docker-registry");
    let registry = Registry::start();
    registry.client().upload("a", b"something in the store");
    let theirs = registry.home().join("config.yml");
    let compared = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut command = check_command(&registry, |config| {
            config["upstream"]["response_headers"] = json!({"X-Content-Type-Options": ["nosniff"]});
            change(config);
        });
        command.arg("--registry-config").arg(&theirs);
        run(command)
    };
    let ended = compared(&|_| ());
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(
        ended.out.contains("and the configuration agree"),
        "{}",
        ended.out
    );
    let ended = compared(&|config| config["upstream"]["relative_urls"] = json!(true));
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    let fault = "fault: http.relativeurls is false in the registry's file, but upstream.relative_urls is true here";
    assert!(ended.out.contains(fault), "{}", ended.out);
}

#[test]
fn a_check_knows_by_the_registrys_configuration_whether_it_speaks_tls() {
    needs!("docker-registry");
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("letsencrypt");
    for letsencrypt in [
        json!({"email": "operator@registry.example"}),
        json!({"cachefile": cache, "hosts": ["registry.example"]}),
    ] {
        let registry = Registry::with(|config| {
            config["http"]["tls"] = json!({"letsencrypt": letsencrypt});
        });
        let plain = support::raw_http::Request::new("GET", "/v2/").try_send(registry.port);
        let is_tls = !plain.is_ok_and(|answer| answer.status == 200);
        let theirs = registry.home().join("config.yml");
        let file = registry.home().join("crossmount.yml");
        let ours = config(&registry.url(), &registry.store.root);
        fs::write(&file, ours.to_string()).unwrap();
        let mut command = command(BINARY);
        command.args(["check", "--offline", "--config"]).arg(&file);
        command.arg("--registry-config").arg(&theirs);
        let ended = run(command);
        let fault = "fault: the registry speaks TLS (http.tls), but upstream.url is http:";
        assert_eq!(ended.out.contains(fault), is_tls, "{}", ended.out);
        assert_eq!(is_tls, letsencrypt["cachefile"].is_string());
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("crossmount.yml");
    fs::write(&file, config("http://127.0.0.1:1", home.path()).to_string()).unwrap();
    let check = format!("{BINARY} check --offline --config {}", file.display());
    let mut shell = std::process::Command::new("bash");
    shell.arg("-c");
    shell.arg(format!("set -o pipefail; {check} | true"));
    let ended = run(shell);
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
}
