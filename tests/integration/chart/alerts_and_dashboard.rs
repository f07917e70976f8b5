//! Alerts and dashboard: Prometheus takes every expression, and what they name is there.

use crate::{needs, support};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use support::helm::project;
use support::prometheus::Prometheus;
use support::registry::Registry;
use support::sidecar::{self, Sidecar};
use support::webhook_endpoint::Endpoint;
use support::{digest_of, free_port, raw_http, token_issuer, tools, wait_until};

/// Labels whose every value is shown from the start.
const CLOSED: [&str; 7] = [
    "outcome",
    "reason",
    "via",
    "decision",
    "kind",
    "operation",
    "result",
];

fn promtool(arguments: &[&str]) {
    let mut command = Command::new(tools::find("promtool").unwrap());
    tools::run(command.args(arguments).current_dir(project("deploy")));
}

fn read(path: &str) -> Value {
    serde_yaml::from_str(&fs::read_to_string(project(path)).unwrap()).unwrap()
}

fn rules() -> Vec<Value> {
    let all = read("deploy/prometheus/rules.yaml");
    let groups = all["groups"].as_array().unwrap().iter();
    let rules: Vec<_> = groups
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect();
    assert!(!rules.is_empty());
    rules
}

fn panels() -> Vec<Value> {
    let text = fs::read_to_string(project("deploy/grafana/crossmount.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

/// The dashboard's expressions, with values in the place of Grafana's variables.
fn queries() -> Vec<String> {
    let panels = panels();
    let targets = panels.iter().filter_map(|it| it["targets"].as_array());
    let filled = |target: &Value| {
        let text = target["expr"].as_str().unwrap();
        let text = text.replace("$__rate_interval", "5m");
        let text = text.replace("$__range", "6h");
        let text = text.replace("$job", ".*").replace("$instance", ".*");
        assert!(!text.contains('$'), "{text}");
        text
    };
    let queries: Vec<_> = targets.flatten().map(filled).collect();
    assert!(queries.len() > 20, "{queries:?}");
    queries
}

fn expressions() -> Vec<String> {
    let alerts = rules().into_iter();
    let alerts = alerts.map(|rule| rule["expr"].as_str().unwrap().to_owned());
    alerts.chain(queries()).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
}

/// Notifications to one endpoint.
fn telling(url: &str) -> Value {
    json!({"endpoints": [{"name": "audit", "url": url}]})
}

/// /metrics of a sidecar that has answered a request, and of one that speaks TLS.
fn shown() -> String {
    let home = tempfile::tempdir().unwrap();
    token_issuer::signed(home.path());
    let absent = format!("http://127.0.0.1:{}", free_port());
    let mut config = sidecar::config(&absent, home.path());
    config["notifications"] = telling(&absent);
    let plain = Sidecar::from(&config);
    raw_http::get(plain.port, "/v2/").expect(503);
    let pem = |name: &str| home.path().join(name);
    config["listen"]["tls"] = json!({"certificate": pem("cert.pem"), "key": pem("key.pem")});
    let tls = Sidecar::from(&config);
    plain.metrics() + &tls.metrics()
}

#[test]
fn prometheus_takes_the_rules_and_the_dashboards_expressions() {
    needs!("promtool");
    promtool(&["check", "rules", "prometheus/rules.yaml"]);

    let record =
        |(at, query): (usize, String)| json!({"record": format!("panel:{at}"), "expr": query});
    let rules: Vec<_> = queries().into_iter().enumerate().map(record).collect();
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let text = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(&file, text.to_string()).unwrap();
    promtool(&["check", "rules", file.path().to_str().unwrap()]);
}

#[test]
fn each_alert_fires_where_it_should_and_is_silent_where_it_nearly_should() {
    needs!("promtool");
    promtool(&["test", "rules", "prometheus/rules.test.yaml"]);
    let tests = read("deploy/prometheus/rules.test.yaml");
    let tests = tests["tests"].as_array().unwrap().iter();
    let asked = tests.flat_map(|test| test["promql_expr_test"].as_array().unwrap());
    let samples = asked.filter_map(|asked| asked["exp_samples"].as_array());
    let fired: Vec<_> = samples
        .flatten()
        .map(|it| it["labels"].to_string())
        .collect();
    for rule in rules() {
        let name = format!("alertname=\\\"{}\\\"", rule["alert"].as_str().unwrap());
        assert!(fired.iter().any(|labels| labels.contains(&name)), "{name}");
    }
}

#[test]
fn each_alert_says_what_is_wrong_and_what_to_do() {
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert!(name.starts_with("Crossmount"), "{name}");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}");
        let say = |key: &str| rule["annotations"][key].as_str().unwrap();
        let (summary, description) = (say("summary"), say("description"));
        assert!(summary.ends_with('.') && summary.len() < 100, "{summary}");
        assert!(description.len() > 100, "{description}");
        // What it sends the reader to is there.
        let named = words(description).filter(|word| word.starts_with("crossmount_"));
        let known = fs::read_to_string(project("docs/src/reference/metrics.md")).unwrap();
        for metric in named {
            assert!(known.contains(&format!("| `{metric}` |")), "{metric}");
        }
    }
}

#[test]
fn rules_and_dashboard_name_only_what_metrics_show() {
    needs!("openssl");
    let shown = shown();
    let samples = shown.lines().filter(|line| !line.starts_with('#'));
    let names: BTreeSet<_> = samples.filter_map(|line| words(line).next()).collect();
    let dashboard = fs::read_to_string(project("deploy/grafana/crossmount.json")).unwrap();
    for expression in expressions().iter().chain([&dashboard]) {
        for name in words(expression).filter(|word| word.starts_with("crossmount_")) {
            assert!(names.contains(name), "no {name}: {expression}");
        }
    }
    for expression in expressions() {
        for (label, value) in matched(&expression) {
            if CLOSED.contains(&label) {
                let sample = format!("{label}=\"{value}\"");
                assert!(shown.contains(&sample), "no {sample}: {expression}");
            }
        }
    }
}

/// The labels of an expression and each value that they are compared with.
fn matched(expression: &str) -> Vec<(&str, &str)> {
    let mut parts = expression.split('"');
    let mut found = vec![];
    while let (Some(before), Some(values)) = (parts.next(), parts.next()) {
        let label = words(before.trim_end_matches(['=', '~', '!']));
        let label = label.last().unwrap();
        found.extend(values.split('|').map(|value| (label, value)));
    }
    found
}

/// A sidecar that walks, mounts and tells of it, in front of a registry with a layer to mount.
fn walking() -> (Registry, Sidecar, String) {
    let endpoint = Endpoint::start(|_| "200 OK");
    let registry = Registry::start();
    let digest = registry.client().upload("source", b"a layer to be seen");
    let sidecar = Sidecar::with(&registry, |config| {
        config["discovery"] = json!({"enabled": true, "sources": "any"});
        config["notifications"] = telling(&endpoint.url());
    });
    sidecar.verify_store();
    (registry, sidecar, digest)
}

#[test]
fn each_of_the_dashboards_queries_shows_something_of_a_busy_sidecar() {
    needs!("docker-registry", "prometheus");
    let (_registry, sidecar, digest) = walking();
    let prometheus = Prometheus::of(&sidecar, &[]);
    let client = sidecar.client();
    let mut turn = 0;
    for query in queries() {
        // What only a dry run, TLS, Redis and held requests have.
        let others = [
            "dry_run",
            "certificate",
            "redis_seconds",
            "held_request_duration",
        ];
        if others.iter().any(|it| query.contains(it)) {
            continue;
        }
        let query = query.replace("5m", "10s").replace("6h", "10s");
        wait_until(&format!("{query} shows something"), || {
            turn += 1;
            client
                .mount(&format!("target/{turn}"), &digest, "source")
                .expect(201);
            let unknown = digest_of(format!("{turn}").as_bytes());
            client.mount("target", &unknown, "source").expect(202);
            let value = prometheus.ask(&query);
            value.is_some_and(|value| value != "NaN")
        });
    }
}

#[test]
fn prometheus_evaluates_the_rules_and_sees_a_registry_end() {
    needs!("docker-registry", "prometheus");
    let (mut registry, sidecar, _) = walking();
    let prometheus = Prometheus::of(&sidecar, &[project("deploy/prometheus/rules.yaml")]);
    let expected = rules().len();
    wait_until("every rule is evaluated, and none complains", || {
        let answer = prometheus.get("/api/v1/rules").unwrap_or_default();
        let rules = answer["data"]["groups"][0]["rules"].as_array();
        let rules = rules.map_or(&[][..], Vec::as_slice);
        for rule in rules {
            assert_ne!(rule["health"], "err", "{rule}");
        }
        let is_done = |rule: &&Value| rule["health"] == "ok" && rule["state"] == "inactive";
        rules.iter().filter(is_done).count() == expected
    });
    registry.kill();
    let pending = |name: &str, meanwhile: &dyn Fn()| {
        let query = format!("ALERTS{{alertname=\"{name}\", alertstate=\"pending\"}}");
        wait_until(&query, || {
            meanwhile();
            prometheus.ask(&query).as_deref() == Some("1")
        });
    };
    // Though nobody asks for anything.
    pending("CrossmountNotReady", &|| {});
    pending("CrossmountRegistryDoesNotAnswer", &|| {
        raw_http::get(sidecar.port, "/v2/").expect(503);
    });
}

#[test]
fn the_dashboards_panels_have_a_place_of_their_own_and_say_what_they_show() {
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        let (left, top) = (place("x"), place("y"));
        assert!(left + place("w") <= 24, "{title}");
        for x in left..left + place("w") {
            for y in top..top + place("h") {
                assert!(taken.insert((x, y)), "{title} lies on another");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        let chosen = json!({"type": "prometheus", "uid": "${datasource}"});
        assert_eq!(panel["datasource"], chosen, "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string());
        assert!(panel["description"].as_str().unwrap().ends_with('.'));
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"], chosen, "{title}");
            let query = target["expr"].as_str().unwrap();
            let (all, chosen) = (
                query.matches("crossmount_").count(),
                query
                    .matches("{job=~\"$job\", instance=~\"$instance\"")
                    .count(),
            );
            assert_eq!(all, chosen, "{title}: {query}");
        }
    }
}
