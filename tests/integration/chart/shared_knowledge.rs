//! The Redis or Valkey through which the chart's replicas share what they know.

use crate::{needs, support};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use support::helm::{HELMS, Rendered, Values, chart, covers, helm, refuses_each};
use support::program_run::run as run_program;
use support::{free_port, sidecar, tools, wait_until};

const VALKEY: &str = "hub-crossmount-valkey";
/// By default no replica has anything to share.
const LEARNS: &str = "crossmount.config.discovery.enabled=true";

fn with_valkey() -> Rendered {
    Values::named("valkey").render()
}

/// Ends with the test, also if it fails.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn valkeys_pod(rendered: &Rendered) -> &Value {
    &rendered.called("Deployment", VALKEY)["spec"]["template"]
}

fn variable<'a>(container: &'a Value, name: &str) -> &'a Value {
    let variables = container["env"].as_array().unwrap();
    variables.iter().find(|it| it["name"] == name).unwrap()
}

#[test]
fn crossmount_reaches_the_valkey_of_the_chart() {
    needs!("helm3", "helm4");
    let rendered = with_valkey();
    let crossmount = rendered.container("crossmount");
    let url = &variable(crossmount, "CROSSMOUNT_DISCOVERY_REDIS_URL")["value"];
    let expected = format!("redis://crossmount:$(VALKEY_PASSWORD)@{VALKEY}:6379");
    assert_eq!(url, &expected);
    // Kubernetes replaces only what an earlier variable has.
    assert_eq!(crossmount["env"][0]["name"], "VALKEY_PASSWORD");
    let pod = valkeys_pod(&rendered);
    let service = &rendered.called("Service", VALKEY)["spec"];
    let labels = &pod["metadata"]["labels"];
    assert!(covers(&service["selector"], labels));
    let own = &rendered.the("Service")["spec"]["selector"];
    assert!(
        !covers(own, labels),
        "clients would be sent to the wrong pod"
    );
    assert_eq!(service["ports"][0]["port"], 6379);
    let opened = &pod["spec"]["containers"][0]["ports"][0];
    assert_eq!(opened["containerPort"], 6379);
    assert_eq!(service["ports"][0]["targetPort"], opened["name"]);
    // One Secret has the password of both.
    let theirs = variable(&pod["spec"]["containers"][0], "VALKEY_PASSWORD");
    let secret = &crossmount["env"][0]["valueFrom"]["secretKeyRef"];
    assert_eq!(&theirs["valueFrom"]["secretKeyRef"], secret);
    let expected = json!({"name": "hub-valkey", "key": "password"});
    assert_eq!(secret, &expected);
}

#[test]
fn valkey_may_do_no_more_than_the_registrys_pod() {
    needs!("helm3", "helm4");
    let rendered = with_valkey();
    let valkey = rendered.called("Deployment", VALKEY);
    assert_eq!(valkey["spec"]["strategy"]["type"], "Recreate");
    assert_eq!(valkey["spec"]["replicas"], 1);
    let (pod, other) = (&valkeys_pod(&rendered)["spec"], rendered.pod());
    for same in [
        "securityContext",
        "automountServiceAccountToken",
        "enableServiceLinks",
    ] {
        assert_eq!(pod[same], other[same], "{same}");
    }
    let container = &pod["containers"][0];
    let registry = rendered.container("registry");
    assert_eq!(container["securityContext"], registry["securityContext"]);
    assert!(container["resources"]["limits"]["memory"].is_string());
}

#[test]
fn the_policies_let_crossmount_alone_reach_valkey() {
    needs!("helm3", "helm4");
    let rendered = with_valkey();
    let labels = &valkeys_pod(&rendered)["metadata"]["labels"];
    let theirs = &rendered.called("NetworkPolicy", VALKEY)["spec"];
    assert!(covers(&theirs["podSelector"]["matchLabels"], labels));
    assert_eq!(theirs["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(theirs["egress"], json!([]));
    let from = theirs["ingress"][0]["from"].as_array().unwrap();
    let crossmounts = &rendered.the("Deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(from.len(), 1);
    assert!(covers(&from[0]["podSelector"]["matchLabels"], crossmounts));
    assert_eq!(theirs["ingress"][0]["ports"][0]["port"], 6379);
    // Beside what the operator opens, crossmount's own policy opens the way there.
    let own = rendered.called("NetworkPolicy", "hub-crossmount");
    let [dns, valkey] = own["spec"]["egress"].as_array().unwrap().as_slice() else {
        panic!("{own}");
    };
    assert_eq!(dns["ports"][0]["port"], 53);
    assert_eq!(valkey["ports"][0]["port"], 6379);
    assert!(covers(
        &valkey["to"][0]["podSelector"]["matchLabels"],
        labels
    ));
}

#[test]
fn no_password_and_no_key_is_in_a_config_map() {
    needs!("helm3", "helm4");
    for values in ["valkey", "redis"] {
        let rendered = Values::named(values).render();
        for map in rendered.0.iter().filter(|it| it["kind"] == "ConfigMap") {
            let text = map.to_string().to_lowercase();
            for word in ["password", "fingerprint", "redis"] {
                assert!(!text.contains(word), "{values}: {word} in {text}");
            }
        }
    }
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["crossmount.config.discovery.redis.fingerprint_key=a"],
            &["fingerprint_key", "ConfigMap", "redis.urlSecret"],
        ),
        (
            &["crossmount.config.discovery.redis.url=redis://:a@b"],
            &["redis.url", "ConfigMap", "redis.urlSecret"],
        ),
        (
            &["valkey.enabled=true"],
            &["valkey.enabled", "discovery.enabled"],
        ),
        (&["redis.urlSecret=a"], &["redis.urlSecret", "discovery"]),
        (
            &["valkey.enabled=true", "redis.urlSecret=a", LEARNS],
            &["one Redis or Valkey"],
        ),
        (&["redis.caSecret=a"], &["redis.urlSecret"]),
        (
            &["valkey.enabled=true", "redis.caSecret=a", LEARNS],
            &["no TLS"],
        ),
        (
            &[
                "redis.urlSecret=a",
                LEARNS,
                "crossmount.config.discovery.redis.url=redis://b",
            ],
            &["left out", "redis.urlSecret"],
        ),
        (
            &[
                "valkey.enabled=true",
                LEARNS,
                "crossmount.config.discovery.redis.prefix=other",
            ],
            &["prefix", "no other keys"],
        ),
        (
            &[
                "valkey.enabled=true",
                LEARNS,
                "crossmount.extraEnv[0].name=CROSSMOUNT_DISCOVERY_REDIS_URL",
            ],
            &["extraEnv", "valkey.enabled"],
        ),
        (&["valkey.maxMemory=much"], &["maxMemory"]),
        (
            &["extraVolumes[0].name=redis-ca"],
            &["a volume redis-ca already"],
        ),
    ];
    refuses_each(cases);
}

#[test]
fn a_redis_that_is_there_is_named_by_secrets() {
    needs!("helm3", "helm4");
    let rendered = Values::named("redis").render();
    let crossmount = rendered.container("crossmount");
    let secret = |name: &str| variable(crossmount, name)["valueFrom"]["secretKeyRef"].clone();
    let url = secret("CROSSMOUNT_DISCOVERY_REDIS_URL");
    assert_eq!(url, json!({"name": "hub-redis", "key": "url"}));
    let key = secret("CROSSMOUNT_DISCOVERY_REDIS_FINGERPRINT_KEY");
    let expected = json!({"name": "hub-redis", "key": "fingerprint-key", "optional": true});
    assert_eq!(key, expected);
    // The certificate that is named is where the volume is.
    let path = &variable(crossmount, "CROSSMOUNT_DISCOVERY_REDIS_CA_CERTIFICATE")["value"];
    let mounts = crossmount["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|it| it["name"] == "redis-ca").unwrap();
    let file = format!("{}/ca.crt", mount["mountPath"].as_str().unwrap());
    assert_eq!(path, &file);
    let volumes = rendered.pod()["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|it| it["name"] == "redis-ca"));
    assert!(!rendered.has("Secret"));
    assert!(rendered.0.iter().all(|it| it["metadata"]["name"] != VALKEY));
}

#[test]
fn a_password_and_a_key_are_generated_unless_a_secret_has_them() {
    needs!("helm3", "helm4");
    assert!(!with_valkey().has("Secret"));
    for name in HELMS {
        let made = || {
            let settings = format!("valkey.enabled=true,{LEARNS}");
            let mut command = helm(name, &["template", "hub", "--set", &settings]);
            let output = tools::run(command.arg(chart()));
            Rendered::read(&String::from_utf8(output.stdout).unwrap())
        };
        let rendered = made();
        let data = &rendered.called("Secret", VALKEY)["data"];
        for (key, letters) in [("password", 40), ("fingerprint-key", 64)] {
            let text = data[key].as_str().unwrap();
            assert_eq!(text.trim_end_matches('=').len() * 3 / 4, letters, "{key}");
        }
        assert_ne!(data, &made().called("Secret", VALKEY)["data"]);
        let from = &rendered.container("crossmount")["env"][0]["valueFrom"];
        assert_eq!(from["secretKeyRef"]["name"], VALKEY);
    }
}

#[test]
fn replicas_are_spread_and_a_constraint_may_name_other_pods() {
    needs!("helm3", "helm4");
    let rendered = with_valkey();
    let constraint = &rendered.pod()["topologySpreadConstraints"][0];
    assert_eq!(constraint["topologyKey"], "kubernetes.io/hostname");
    let selector = &rendered.the("Deployment")["spec"]["selector"];
    assert_eq!(&constraint["labelSelector"], selector);
    let place = "topologySpreadConstraints[0].labelSelector.matchLabels.a=b";
    let rendered = Rendered::from(&chart(), &["--set", place]);
    let constraint = &rendered.pod()["topologySpreadConstraints"][0];
    let expected = json!({"matchLabels": {"a": "b"}});
    assert_eq!(constraint["labelSelector"], expected);
}

/// Redis takes the configuration that Valkey gets, and permits nothing but crossmount's work.
#[test]
fn theserver_of_the_chart_takes_one_login_and_few_commands() {
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
