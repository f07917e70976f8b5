//! Who may mount by a password: checked here, with the registry's own file.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;
use support::access_control::{BLOB, htpasswd_mode, with_passwords_here};
use support::compare::essence;
use support::registry::Registry;
use support::registry_client::Client;
use support::sidecar::Sidecar;
use support::sidecar_metrics::most_questions;
use support::{base64, program_run, tools, wait_until};

fn file(registry: &Registry) -> PathBuf {
    let path = &registry.config["auth"]["htpasswd"]["path"];
    PathBuf::from(path.as_str().unwrap())
}

/// An entry as htpasswd(1) writes it.
fn entry(flags: &[&str], user: &str, password: &str) -> String {
    let output = tools::run(Command::new("htpasswd").args(flags).args([user, password]));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What checking passwords costs: time on a processor, in hundredths of a second.
fn processor_time(sidecar: &Sidecar) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", sidecar.id())).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn the_right_password_mounts_with_hardly_any_probe_of_the_registry() {
    needs!("docker-registry", "htpasswd");
    let users = [("alice", "right"), ("bob", "also right")];
    let (registry, sidecar, digest) = with_passwords_here(&users);
    let start = Instant::now();
    for turn in 0..10 {
        for (user, password) in users {
            let client = sidecar.client().basic(user, password);
            let target = format!("{user}/{turn}");
            client.mount(&target, &digest, "source").expect(201);
            assert_eq!(client.at(registry.port).pull(&target, &digest), BLOB);
        }
    }
    assert_eq!(sidecar.mounted(), 20);
    assert_eq!(sidecar.decisions("allowed", "htpasswd"), 20);
    let asked = sidecar.subrequests();
    // About each login, and whether the registry is writable.
    assert!(asked <= 1 + most_questions(start), "{asked}");
}

#[test]
fn a_wrong_login_is_answered_as_the_registry_answers_an_upload() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = with_passwords_here(&[("alice", "right")]);
    let pair = |text: &str| format!("Basic {}", base64(text.as_bytes()));
    let wrong = [
        pair("alice:wrong"),
        pair("alice:"),
        pair("alice"),
        pair("Alice:right"),
        pair("bob:right"),
        pair(":right"),
        pair("alice:right\n"),
        pair(" alice:right"),
        pair("alice:right").replace("Basic ", "Basic  "),
        pair("alice:right").replace('=', ""),
        "Basic !!!".to_owned(),
        "Basic".to_owned(),
    ];
    for value in &wrong {
        let ask = |port| {
            Client::new(port)
                .header("Host", "registry.test")
                .header("Authorization", value)
        };
        let theirs = ask(registry.port).begin("target").expect(401);
        let ours = ask(sidecar.port).mount("target", &digest, "source");
        assert_eq!(essence(&theirs), essence(&ours), "{value}");
    }
    assert_eq!(sidecar.mounts("forwarded", "denied"), wrong.len() as u64);
    let anonymous = sidecar.client().mount("target", &digest, "source");
    assert_eq!(anonymous.status, 401);
    assert_eq!(sidecar.mounts("forwarded", "no_credentials"), 1);
    assert!(!registry.store.repository("target").exists());
    assert_eq!(sidecar.mounted(), 0);
}

#[test]
fn logins_are_decided_as_the_registry_decides_them() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let long = "x".repeat(90);
    let mut lines = vec![
        "# a comment: with a colon".to_owned(),
        String::new(),
        entry(&["-nbB", "-C", "4"], "alice", "right"),
        entry(&["-nbB", "-C", "4"], "cost5", "five"),
        entry(&["-nbB", "-C", "4"], "twice", "first"),
        entry(&["-nbB", "-C", "4"], "twice", "second"),
        entry(&["-nbB", "-C", "4"], "long", &long[..71]),
        entry(&["-nbB", "-C", "4"], "utf8", "pässwörd"),
        entry(&["-nbB", "-C", "4"], "colon", "a:b:c"),
        entry(&["-nbm"], "md5", "right"),
        entry(&["-nbs"], "sha", "right"),
        "empty:".to_owned(),
        "plain:right".to_owned(),
    ];
    for prefix in ["2a", "2b", "2x"] {
        let line = entry(&["-nbB", "-C", "4"], prefix, "right");
        lines.push(line.replace("$2y$", &format!("${prefix}$")));
    }
    fs::write(file(&registry), lines.join("\r\n")).unwrap();
    let alice = registry.client().basic("alice", "right");
    let digest = alice.upload("source", BLOB);
    let sidecar = Sidecar::with(&registry, htpasswd_mode(&registry));
    sidecar.verify_store_as(&alice);
    for (user, password) in [
        ("alice", "right"),
        ("cost5", "five"),
        ("twice", "first"),
        ("twice", "second"),
        ("long", &long[..71]),
        ("long", &long[..72]),
        ("long", &long),
        ("utf8", "pässwörd"),
        ("utf8", "password"),
        ("colon", "a:b:c"),
        ("colon", "a"),
        ("md5", "right"),
        ("sha", "right"),
        ("empty", ""),
        ("plain", "right"),
        ("2a", "right"),
        ("2b", "right"),
        ("2x", "right"),
        ("# a comment", " with a colon"),
        ("alice", "right\0"),
        ("alice", "right\0right"),
    ] {
        let client = sidecar.client().basic(user, password);
        let may = client.at(registry.port).get("/v2/").status == 200;
        let before = sidecar.mounted();
        let target = format!("t{}", support::hex(format!("{user}:{password}").as_bytes()));
        let target = &target[..target.len().min(60)];
        let status = client.mount(target, &digest, "source").status;
        assert_eq!(status, if may { 201 } else { 401 }, "{user}:{password:?}");
        assert_eq!(sidecar.mounted() - before, u64::from(may), "{user}");
    }
}

#[test]
fn a_right_password_is_checked_once_in_a_while() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    fs::write(
        file(&registry),
        entry(&["-nbB", "-C", "11"], "alice", "right"),
    )
    .unwrap();
    let alice = registry.client().basic("alice", "right");
    let digest = alice.upload("source", BLOB);
    let sidecar = Sidecar::with(&registry, |config| {
        htpasswd_mode(&registry)(config);
        // Even where the registry is asked about each mount.
        config["access"]["decision_ttl"] = "0s".into();
        config["mount"] = json!({"time_budget": "60s"});
    });
    sidecar.verify_store_as(&alice);
    let client = alice.at(sidecar.port);
    let cost = |targets: std::ops::Range<usize>| {
        let before = processor_time(&sidecar);
        for turn in targets {
            let target = format!("t{turn}");
            client.mount(&target, &digest, "source").expect(201);
        }
        processor_time(&sidecar) - before
    };
    let (first, others) = (cost(0..1), cost(1..11));
    assert!(others < first, "{others} hundredths against {first}");
}

#[test]
fn a_broken_file_leaves_the_decision_to_the_registry() {
    needs!("docker-registry", "htpasswd");
    let (registry, sidecar, digest) = with_passwords_here(&[("alice", "right")]);
    let alice = sidecar.client().basic("alice", "right");
    alice.mount("before", &digest, "source").expect(201);
    let good = fs::read(file(&registry)).unwrap();
    // The registry itself goes on with what it read before, or answers nobody where there is no file.
    fs::write(file(&registry), "alice\n").unwrap();
    wait_until("the file is found broken", || {
        alice.mount("broken", &digest, "source");
        sidecar.decisions("unknown", "htpasswd") > 0
    });
    wait_until("the log says so", || {
        sidecar.log().contains("line 1 is no user:password entry")
    });
    fs::remove_file(file(&registry)).unwrap();
    wait_until("the registry answers nobody", || {
        alice.at(registry.port).get("/v2/").status != 200
    });
    wait_until("the mount is not made here", || {
        alice.mount("broken", &digest, "source").status != 201
    });
    let mounted = sidecar.mounted();
    alice.mount("absent", &digest, "source");
    assert!(!registry.store.link("absent", &digest).exists());
    assert_eq!(sidecar.mounted(), mounted);
    fs::write(file(&registry), good).unwrap();
    wait_until("it mounts again", || {
        alice.mount("after", &digest, "source").status == 201
    });
}

#[test]
fn a_file_that_cannot_be_read_keeps_the_process_from_starting() {
    needs!("docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let absent = registry.home().join("absent");
    for (path, wanted) in [
        (absent, "cannot be read: No such file or directory"),
        (registry.home().to_owned(), "cannot be read: Is a directory"),
    ] {
        let mut config = support::sidecar::config(&registry.url(), &registry.store.root);
        fs::create_dir_all(&registry.store.root).unwrap();
        let access = json!({"mode": "htpasswd", "htpasswd": {"path": path}});
        config["access"] = access;
        for command in ["serve", "check"] {
            let ended = run(command, &config);
            assert_ne!(ended.code, Some(0));
            let text = ended.out + &ended.err;
            assert!(text.contains("access.htpasswd.path: "), "{text}");
            assert!(text.contains(wanted), "{text}");
        }
    }
}

fn run(command: &str, config: &Value) -> program_run::Ended {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("crossmount.yml");
    fs::write(&file, config.to_string()).unwrap();
    let mut program = support::sidecar::command(support::sidecar::BINARY);
    program.args([command, "--config"]).arg(&file);
    program_run::run(program)
}
