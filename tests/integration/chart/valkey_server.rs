//! The configuration of the chart's Valkey, run.

use crate::chart::shared_knowledge::{valkeys_pod, with_valkey};
use crate::{needs, support};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use support::program_run::run as run_program;
use support::{free_port, sidecar, tools, wait_until};

/// Ends with the test, also if it fails.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Redis takes the configuration that Valkey gets, and permits nothing but crossmount's work.
#[test]
fn the_server_of_the_chart_takes_one_login_and_few_commands() {
    needs!("helm3", "helm4", "redis-server", "redis-cli");
    let rendered = with_valkey();
    let container = &valkeys_pod(&rendered)["spec"]["containers"][0];
    let home = tempfile::tempdir().unwrap();
    let port = free_port().to_string();
    for (name, program) in [
        ("valkey-server", "redis-server"),
        ("valkey-cli", "redis-cli"),
    ] {
        symlink(tools::find(program).unwrap(), home.path().join(name)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", home.path().display());
    let run = |words: &Value, more: &[&str]| {
        let words = words.as_array().unwrap().iter();
        let words: Vec<_> = words.map(|it| it.as_str().unwrap().to_owned()).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(more).env("PATH", &path);
        command.env("VALKEY_PASSWORD", "rightpassword");
        command
    };
    let script = container["args"][0].as_str().unwrap();
    let script = script.replace("port 6379", &format!("port {port}\nbind 127.0.0.1"));
    let script = script.replace("dir /data", &format!("dir {}", home.path().display()));
    let mut server = run(&container["command"], &[&script]);
    let server = Server(server.stdout(Stdio::null()).spawn().unwrap());
    let ask = |login: &[&str], words: &[&str]| {
        let mut command = Command::new(tools::find("redis-cli").unwrap());
        let command = command.args(["-p", &port]).args(login).args(words);
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let login = [
        "--no-auth-warning",
        "--user",
        "crossmount",
        "-a",
        "rightpassword",
    ];
    wait_until("the server answers", || ask(&login, &["ping"]) == "PONG");
    let arguments = std::fs::read(format!("/proc/{}/cmdline", server.0.id())).unwrap();
    let arguments = String::from_utf8(arguments).unwrap();
    assert!(!arguments.contains("rightpassword"), "{arguments}");
    assert!(ask(&[], &["ping"]).starts_with("NOAUTH"));
    assert_eq!(ask(&login, &["set", "crossmount:a", "1"]), "OK");
    for refused in [
        &["set", "other", "1"][..],
        &["keys", "*"],
        &["get", "crossmount:a"],
        &["config", "get", "*"],
        &["flushall"],
        &["acl", "whoami"],
        &["eval", "return 1", "0"],
    ] {
        let said = ask(&login, refused);
        assert!(said.starts_with("NOPERM"), "{refused:?}: {said}");
    }
    let memory = ask(&login, &["info", "memory"]);
    assert!(memory.contains("maxmemory_policy:allkeys-lru"), "{memory}");
    assert!(memory.contains("maxmemory:209715200"), "{memory}");
    // crossmount itself needs no more.
    let config = json!({
        "listen": {"address": "127.0.0.1:0"},
        "admin": {"address": "127.0.0.1:0"},
        "upstream": {"kind": "generic", "url": format!("http://127.0.0.1:{}", free_port())},
        "discovery": {"enabled": true, "sources": "any"},
    });
    let file = home.path().join("crossmount.yaml");
    std::fs::write(&file, config.to_string()).unwrap();
    let url = format!("redis://crossmount:rightpassword@127.0.0.1:{port}");
    let mut check = sidecar::command(sidecar::BINARY);
    check.args(["check", "--config"]).arg(file);
    check.env("CROSSMOUNT_DISCOVERY_REDIS_URL", url);
    let checked = run_program(check).out;
    assert!(checked.contains("; it is Redis "), "{checked}");
    assert!(
        checked.contains("maxmemory-policy allkeys-lru"),
        "{checked}"
    );
    assert!(!checked.contains("NoPerm"), "{checked}");
    // The probes name the server's own port.
    for probe in ["livenessProbe", "readinessProbe"] {
        let words = json!([container[probe]["exec"]["command"][2]]);
        let text = words[0].as_str().unwrap();
        let text = text.replace("valkey-cli", &format!("valkey-cli -p {port}"));
        let is_well = |password: &str| {
            let mut command = run(&json!(["sh", "-c"]), &[&text]);
            let status = command.env("VALKEY_PASSWORD", password).output().unwrap();
            status.status.success()
        };
        assert!(is_well("rightpassword"), "{text}");
        assert_eq!(is_well("wrong"), probe == "livenessProbe", "{text}");
    }
}
