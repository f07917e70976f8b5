//! The Helm chart: real helm 3 and 4 take it, strict schemas take what they render, and wrong
//! values are refused.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use support::helm::{
    HELMS, Rendered, SIDECAR_VERSIONS, Values, chart, helm, refuses, refuses_each, validate,
    validate_custom,
};
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
            &["registry.config.storage.swift.container=b"],
            &["storage.swift", "must be filesystem, s3, azure or gcs"],
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
        (
            &["serviceAccount.annotations.a=b"],
            &["serviceAccount.create"],
        ),
        (&["replicaCount=2"], &["ReadWriteMany", "object store"]),
        (
            &["replicaCount=2", "persistence.accessModes={ReadWriteMany}"],
            &["httpSecret"],
        ),
    ];
    refuses_each(cases);
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
    refuses_each(cases);
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
