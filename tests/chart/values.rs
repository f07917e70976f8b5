//! The Helm chart: real helm 3 and 4 take it, strict schemas take what they render, and wrong
//! values are refused.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use support::helm::{HELMS, Rendered, SIDECAR_VERSIONS, Values, chart, helm, project};
use support::helm::{refuses, validate, validate_custom};
use support::tools;

#[test]
fn both_helms_find_nothing_to_say_about_any_values() {
    needs!("helm3", "helm4");
    for values in Values::every() {
        for name in HELMS {
            let mut command = helm(name, &["lint", "--strict", "--quiet"]);
            let output = tools::run(command.arg(chart()).args(values.arguments()));
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said.trim(), "", "{name} {}", values.name());
        }
    }
}

#[test]
fn strict_schemas_of_every_kubernetes_take_what_is_rendered() {
    needs!("helm3", "helm4", "kubernetes-validate");
    let home = tempfile::tempdir().unwrap();
    let mut files = vec![];
    for values in Values::every() {
        let file = home.path().join(format!("{}.yaml", values.name()));
        values.render().built_in(&file);
        if values.is_plain() {
            for minor in 25..*SIDECAR_VERSIONS.start() {
                validate(minor, std::slice::from_ref(&file));
            }
        }
        files.push(file);
    }
    for minor in SIDECAR_VERSIONS {
        validate(minor, &files);
    }
}

#[test]
fn what_is_rendered_does_not_depend_on_the_version_of_kubernetes() {
    needs!("helm3", "helm4");
    let on = |version| Rendered::from(&chart(), &["--kube-version", version]).0;
    assert_eq!(on("1.29.0"), on("1.37.1"));
    // As managed clusters name themselves.
    assert_eq!(on("1.29.3-gke.1200"), on("1.37.1"));
}

#[test]
fn the_pod_monitor_fits_its_definition_and_finds_the_pod() {
    needs!("helm3", "helm4", "validate-custom", "node");
    assert!(!Values::DEFAULT.render().has("PodMonitor"));
    let rendered = Values::named("podmonitor").render();
    let monitor = rendered.the("PodMonitor");
    validate_custom(monitor);
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let selector = &monitor["spec"]["selector"]["matchLabels"];
    let deployment = rendered.the("Deployment");
    assert_eq!(selector, &deployment["spec"]["selector"]["matchLabels"]);
    let endpoints = json!([{"port": "admin", "path": "/metrics", "interval": "15s"}]);
    assert_eq!(monitor["spec"]["podMetricsEndpoints"], endpoints);
    let ports = rendered.container("crossmount")["ports"]
        .as_array()
        .unwrap();
    assert!(ports.iter().any(|port| port["name"] == "admin"));
}

#[test]
fn the_service_leads_to_crossmount() {
    needs!("helm3", "helm4");
    for (values, service, target) in [("plain", 5000, 5000), ("native", 80, 8080)] {
        let rendered = Values::named(values).render();
        let port = &rendered.the("Service")["spec"]["ports"][0];
        assert_eq!(
            (&port["port"], &port["targetPort"]),
            (&json!(service), &json!(target))
        );
        let opened = &rendered.container("crossmount")["ports"][0];
        assert_eq!(opened["containerPort"], target);
        let selector = &rendered.the("Service")["spec"]["selector"];
        let labels = &rendered.the("Deployment")["spec"]["template"]["metadata"]["labels"];
        for (key, value) in selector.as_object().unwrap() {
            assert_eq!(&labels[key], value);
        }
    }
}

#[test]
fn an_unknown_value_is_refused_wherever_it_stands() {
    needs!("helm3", "helm4");
    let text = fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let mut closed = vec![];
    find_closed(&schema, &schema, "", &mut closed);
    assert!(closed.len() >= 9, "{closed:?}");
    for place in closed {
        refuses(
            &["--set", &format!("{place}bogus=1")],
            &["bogus", "not allowed"],
        );
    }
}

/// Every object of the schema that names its keys, as `a.b.`: all of them must be closed.
fn find_closed(schema: &Value, root: &Value, place: &str, closed: &mut Vec<String>) {
    let pointer = schema["$ref"]
        .as_str()
        .unwrap_or("#")
        .trim_start_matches('#');
    let schema = if pointer.is_empty() {
        schema
    } else {
        root.pointer(pointer).unwrap()
    };
    if let Some(properties) = schema["properties"].as_object() {
        assert_eq!(schema["additionalProperties"], false, "{place}");
        closed.push(place.to_owned());
        for (name, below) in properties {
            find_closed(below, root, &format!("{place}{name}."), closed);
        }
    }
}

#[test]
fn values_that_cannot_work_are_refused_with_the_reason() {
    needs!("helm3", "helm4");
    let cases: &[(&[&str], &[&str])] = &[
        (&["registry.port=0"], &["port"]),
        (&["user=0"], &["user"]),
        (&["service.port=http"], &["port"]),
        (
            &["persistence.accessModes={ReadOnlyMany}"],
            &["accessModes"],
        ),
        (
            &["terminationGracePeriodSeconds=26"],
            &["registry.preStopSeconds (26)"],
        ),
        (
            &["registry.config.storage.s3.bucket=b"],
            &["storage.s3", "must be filesystem"],
        ),
        (
            &["registry.config.storage.inmemory=true"],
            &["storage.inmemory"],
        ),
        (
            &["registry.config.http.addr=:5000"],
            &["http.addr", "loopback"],
        ),
        (&["registry.config.http.net=unix"], &["http.net"]),
        (&["registry.config.http.tls.key=k"], &["http.tls"]),
        (
            &["registry.htpasswdSecret=a", "registry.tokenBundleSecret=b"],
            &["one kind of login"],
        ),
        (
            &[
                "registry.htpasswdSecret=a",
                "registry.config.auth.silly.realm=b",
            ],
            &["htpasswd, silly"],
        ),
        (
            &["registry.tokenBundleSecret=a"],
            &["registry.config.auth.token.realm"],
        ),
        (
            &["crossmount.config.upstream.url=http://a"],
            &["upstream.url"],
        ),
        (
            &["crossmount.config.store.filesystem.rootdirectory=/a"],
            &["store.filesystem"],
        ),
        (
            &["crossmount.config.admin.address=127.0.0.1:9500"],
            &["admin.address"],
        ),
        (&["replicaCount=2"], &["ReadWriteMany"]),
        (
            &["replicaCount=2", "persistence.accessModes={ReadWriteMany}"],
            &["httpSecret"],
        ),
    ];
    for (settings, words) in cases {
        let arguments: Vec<_> = settings.iter().flat_map(|it| ["--set", it]).collect();
        refuses(&arguments, words);
    }
    let old = &["--kube-version", "1.28.15"];
    refuses(old, &["Kubernetes 1.29", "v1.28.15", "nativeSidecar"]);
    let older = &[
        "--kube-version",
        "1.24.0",
        "--set",
        "crossmount.nativeSidecar=false",
    ];
    refuses(older, &[">=1.25"]);
}

#[test]
fn times_and_ports_that_cannot_work_are_refused_with_the_reason() {
    needs!("helm3", "helm4");
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["terminationGracePeriodSeconds=36"],
            &["registry.preStopSeconds (26)", "draintimeout (10)"],
        ),
        (
            &["registry.config.http.draintimeout=20s"],
            &["draintimeout (20)", "together"],
        ),
        (
            &["crossmount.config.shutdown.timeout=45s"],
            &["shutdown.timeout (45s)", "terminationGracePeriodSeconds"],
        ),
        (
            &[
                "crossmount.nativeSidecar=false",
                "registry.preStopSeconds=25",
            ],
            &["shutdown.timeout (25s)", "registry.preStopSeconds (25)"],
        ),
        (&["registry.port=5000"], &["5000", "listen.address"]),
        (&["registry.port=9500"], &["9500", "admin.address"]),
        (
            &[
                "registry.port=8080",
                "crossmount.config.listen.address=:8080",
            ],
            &["8080", "listen.address"],
        ),
        (
            &["crossmount.config.listen.address=127.0.0.1:5000"],
            &["listen.address", "outside the pod"],
        ),
        (
            &["crossmount.config.listen.address=[::1]:5000"],
            &["listen.address"],
        ),
        (
            &["crossmount.config.listen.address=localhost:5000"],
            &["listen.address"],
        ),
    ];
    for (settings, words) in cases {
        let arguments: Vec<_> = settings.iter().flat_map(|it| ["--set", it]).collect();
        refuses(&arguments, words);
    }
}

#[test]
fn times_that_fit_or_cannot_be_compared_are_taken() {
    needs!("helm3", "helm4");
    for settings in [
        "terminationGracePeriodSeconds=37",
        "crossmount.config.shutdown.timeout=44s",
        "crossmount.config.shutdown.timeout=1m",
        "registry.config.http.draintimeout=1m",
        "registry.config.http.draintimeout=null,terminationGracePeriodSeconds=27",
        "registry.preStopSeconds=1",
    ] {
        Rendered::from(&chart(), &["--set", settings]);
    }
}

#[test]
fn the_files_of_values_fit_the_schema_and_are_tidy() {
    needs!("check-jsonschema", "yamllint");
    let check = |arguments: &[&str]| {
        let mut command = Command::new(tools::find("check-jsonschema").unwrap());
        tools::run(command.args(arguments).current_dir(chart()));
    };
    check(&["--check-metaschema", "values.schema.json"]);
    let every = Values::every();
    let files = every.iter().filter_map(Values::file);
    let mut files: Vec<_> = files.map(|file| file.to_str().unwrap()).collect();
    files.push("values.yaml");
    check(&[&["--schemafile", "values.schema.json"], &*files].concat());

    let example = project("examples/twuni-docker-registry-values.yaml");
    files.push(example.to_str().unwrap());
    let deploy = project("deploy");
    files.push(deploy.to_str().unwrap());
    let rules = "{extends: default, rules: {document-start: disable, line-length: {max: 110}}}";
    let mut command = Command::new(tools::find("yamllint").unwrap());
    tools::run(
        command
            .args(["--strict", "-d", rules])
            .args(files)
            .current_dir(chart()),
    );
}

#[test]
fn every_value_that_the_schema_knows_is_shown_with_its_default() {
    let text = fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    compare_names(&schema, &schema, &defaults(), "");
}

fn defaults() -> Value {
    let text = fs::read_to_string(chart().join("values.yaml")).unwrap();
    serde_yaml::from_str(&text).unwrap()
}

fn compare_names(schema: &Value, root: &Value, values: &Value, place: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(pointer) => root.pointer(pointer.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let (Some(properties), Some(values)) = (schema["properties"].as_object(), values.as_object())
    else {
        return;
    };
    if values.is_empty() {
        return;
    }
    for (name, below) in properties.iter().filter(|(name, _)| *name != "global") {
        let place = format!("{place}{name}.");
        let value = values.get(name);
        let value = value.unwrap_or_else(|| panic!("values.yaml has no {place}"));
        compare_names(below, root, value, &place);
    }
}

/// Of the table under "Values" in the chart's README, names and defaults.
#[test]
fn the_readme_names_values_as_they_are() {
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Values\n").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let quoted = |cell: &str| -> Vec<String> {
        let odd = cell.split('`').skip(1).step_by(2);
        odd.map(str::to_owned).collect()
    };
    let values = defaults();
    let mut compared = 0;
    for row in rows {
        let cells: Vec<_> = row.split(" | ").collect();
        let defaults = quoted(cells[1]);
        let mut first = String::new();
        for (at, name) in quoted(cells[0]).into_iter().enumerate() {
            let name = match (name.strip_prefix('.'), first.rsplit_once('.')) {
                (Some(name), Some((place, _))) => format!("{place}.{name}"),
                _ => name,
            };
            let pointer = format!("/{}", name.replace('.', "/"));
            let value = values.pointer(&pointer);
            let value = value.unwrap_or_else(|| panic!("no value {name}"));
            let default = defaults.get(at.min(defaults.len().saturating_sub(1)));
            if value.is_boolean() || value.is_number() {
                assert_eq!(default, Some(&value.to_string()), "{name}");
                compared += 1;
            }
            first = name;
        }
    }
    assert!(compared > 10, "{compared}");
}

/// Of every command in the chart's README, values and files.
#[test]
fn the_readmes_commands_name_what_is_there() {
    needs!("helm3", "helm4");
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    let commands = readme.split("```sh\n").skip(1);
    let commands = commands.flat_map(|block| block.split("```").next().unwrap().lines());
    let own = Values::DEFAULT.render();
    let (mut set, mut entered) = (0, 0);
    for command in commands {
        let words: Vec<_> = command.split_whitespace().collect();
        let after = |word: &str| words.iter().skip_while(move |it| **it != word).nth(1);
        if let Some(setting) = after("--set").filter(|_| words[0] == "helm") {
            Rendered::from(&chart(), &["--set", setting]);
            set += 1;
        }
        if words[..2] == ["kubectl", "exec"] {
            let container = own.container(after("--container").unwrap());
            let path = words.last().unwrap();
            let (folder, file) = path.rsplit_once('/').unwrap();
            let mounts = container["volumeMounts"].as_array().unwrap();
            assert!(mounts.iter().any(|it| it["mountPath"] == folder), "{path}");
            assert!(own.file(file).len() > 10, "{path}");
            entered += 1;
        }
    }
    assert_eq!((set, entered), (4, 2));
}

#[test]
fn the_chart_brings_the_crossmount_that_it_names() {
    let read = |name: &str| -> Value {
        serde_yaml::from_str(&fs::read_to_string(chart().join(name)).unwrap()).unwrap()
    };
    let (about, values) = (read("Chart.yaml"), read("values.yaml"));
    assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(values["crossmount"]["image"]["tag"], about["appVersion"]);
}
