//! The unit for systemd: systemd takes it, it is narrow, and not too narrow for crossmount.

use crate::{needs, support};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::discovery::discover_on_head;
use support::helm::project;
use support::program_run::{Home, run};
use support::registry::Registry;
use support::sidecar::{BINARY, Sidecar, command};
use support::{raw_http, tools};

const INSTALLED: &str = "/usr/local/bin/crossmount";

fn unit() -> String {
    fs::read_to_string(project("deploy/systemd/crossmount.service")).unwrap()
}

/// The values of a key, in their order.
fn values(key: &str) -> Vec<String> {
    let unit = unit();
    let values = unit.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name == key).then(|| value.to_owned())
    });
    values.collect()
}

#[track_caller]
fn value(key: &str) -> String {
    let [value] = values(key).try_into().unwrap();
    value
}

fn analyze(arguments: &[&str]) -> String {
    let mut command = Command::new(tools::find("systemd-analyze").unwrap());
    let output = tools::run(command.args(arguments));
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// The unit as it is where crossmount is installed.
fn installed(home: &Path) -> String {
    let file = home.join("crossmount.service");
    let unit = unit();
    assert_eq!(unit.matches(INSTALLED).count(), 1);
    fs::write(&file, unit.replace(INSTALLED, BINARY)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn systemd_has_nothing_to_say_against_the_unit() {
    needs!("systemd-analyze");
    let home = tempfile::tempdir().unwrap();
    let said = analyze(&["verify", "--man=no", &installed(home.path())]);
    assert_eq!(said.trim(), "");
}

#[test]
fn the_unit_is_open_to_little_more_than_the_network() {
    needs!("systemd-analyze");
    let home = tempfile::tempdir().unwrap();
    let file = installed(home.path());
    // In tenths: a unit without any of it has 9.6, and this one 1.2.
    let score = ["--threshold=12", "--offline=true", "--no-pager"];
    analyze(&[&["security"], &score[..], &[&file]].concat());
}

#[test]
fn the_unit_says_what_its_page_and_crossmount_say() {
    let page = fs::read_to_string(project("docs/src/how-to/systemd.md")).unwrap();
    let start = value("ExecStart");
    let [program, verb, flag, file] = start.split(' ').collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((program, verb, flag), (INSTALLED, "serve", "--config"));
    let user = value("User");
    for line in [
        format!("sudo install -m 755 crossmount {program}"),
        format!("sudo -u {user} crossmount check {flag} {file}"),
    ] {
        assert!(page.contains(&line), "{line}");
    }
    assert_eq!(value("Group"), user);
    let stop = value("TimeoutStopSec");
    let stop: u32 = stop.trim_end_matches('s').parse().unwrap();
    // The default of shutdown.timeout.
    assert!(stop > 25, "{stop}");
    let mut serve = command(BINARY);
    serve.args(["serve", "--config", "/dev/null"]);
    let code = run(serve).code.unwrap();
    assert_eq!(value("RestartPreventExitStatus"), code.to_string());
}

/// Every system call of a set, and of those that it names.
fn expand(sets: &str, name: &str, calls: &mut BTreeSet<String>) {
    let mut lines = sets.lines().skip_while(|line| line.trim_end() != name);
    lines.next().unwrap_or_else(|| panic!("no set {name}"));
    for line in lines.take_while(|line| line.is_empty() || line.starts_with(' ')) {
        match line.trim() {
            "" => (),
            comment if comment.starts_with('#') => (),
            set if set.starts_with('@') => expand(sets, set, calls),
            call => {
                calls.insert(call.to_owned());
            }
        }
    }
}

/// What the unit's filter lets through.
fn allowed() -> BTreeSet<String> {
    let sets = analyze(&["syscall-filter"]);
    let mut allowed = BTreeSet::new();
    for filter in values("SystemCallFilter") {
        let mut calls = BTreeSet::new();
        for one in filter.trim_start_matches('~').split(' ') {
            if one.starts_with('@') {
                expand(&sets, one, &mut calls);
            } else {
                calls.insert(one.to_owned());
            }
        }
        if filter.starts_with('~') {
            allowed.retain(|call| !calls.contains(call));
        } else {
            allowed.append(&mut calls);
        }
    }
    assert!(allowed.contains("openat") && !allowed.contains("chroot"));
    allowed
}

#[test]
fn crossmount_makes_no_system_call_that_the_unit_forbids() {
    needs!("systemd-analyze", "strace", "docker-registry");
    let registry = Registry::start();
    let home = Home::new();
    let trace = home.root().with_file_name("trace");
    let mut strace = command("strace");
    strace.args(["-D", "-f", "-qq", "-e", "signal=none", "-o"]);
    strace.arg(&trace).arg(BINARY);
    // A name, so that it is looked up.
    let url = registry.url().replace("127.0.0.1", "localhost");
    let mut config = support::sidecar::config(&url, &registry.store.root);
    discover_on_head(&mut config);
    fs::create_dir_all(&registry.store.root).unwrap();
    let digest = registry.client().upload("source", b"a blob under a filter");
    let mut sidecar = Sidecar::launch(strace, &config);
    sidecar.verify_store();
    let client = sidecar.client();
    client.mount("target", &digest, "source").expect(201);
    raw_http::get(sidecar.admin, "/readyz").expect(200);
    sidecar.signal(rustix::process::Signal::TERM);
    sidecar.wait_for_exit();
    let trace = fs::read_to_string(trace).unwrap();
    // The number of the thread, and the call or what became of one.
    let name = |line: &str| {
        let (name, _) = line.split_once(' ')?.1.trim_start().split_once('(')?;
        let is_name = name
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'_');
        is_name.then(|| name.to_owned())
    };
    let made: BTreeSet<_> = trace.lines().filter_map(name).collect();
    assert!(
        made.contains("openat") && made.contains("accept4"),
        "{made:?}"
    );
    let forbidden: Vec<_> = made.difference(&allowed()).cloned().collect();
    assert_eq!(forbidden, [] as [String; 0]);
}
