//! What the chart has that is off by default, or can be added to its pod.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use support::helm::{
    Rendered, Values, chart, covers, helm, project, refuses_each, validate_custom,
};
use support::tools;

fn everything() -> Rendered {
    Values::named("everything").render()
}

fn with(settings: &[&str]) -> Rendered {
    let arguments: Vec<_> = settings.iter().flat_map(|it| ["--set", it]).collect();
    Rendered::from(&chart(), &arguments)
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&fs::read_to_string(project(path)).unwrap()).unwrap()
}

#[test]
fn nothing_that_is_optional_is_rendered_unless_it_is_asked_for() {
    needs!("helm3", "helm4");
    let kinds = |rendered: &Rendered| -> Vec<String> {
        let name = |it: &Value| it["kind"].as_str().unwrap().to_owned();
        rendered.0.iter().map(name).collect()
    };
    let mut usual = kinds(&Values::DEFAULT.render());
    usual.sort();
    let expected = [
        "ConfigMap",
        "Deployment",
        "PersistentVolumeClaim",
        "Pod",
        "Service",
        "Service",
    ];
    assert_eq!(usual, expected);
    assert!(!with(&["test.enabled=false"]).has("Pod"));
    assert_eq!(kinds(&with(&["enabled=false"])), [] as [&str; 0]);
    let all = [
        "podDisruptionBudget",
        "networkPolicy",
        "serviceMonitor",
        "prometheusRule",
        "dashboard",
    ];
    let all = all.map(|name| format!("{name}.enabled=true"));
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    assert_eq!(kinds(&with(&all)).len(), usual.len() + all.len());
    let none = [&all[..], &["enabled=false"]].concat();
    assert_eq!(kinds(&with(&none)), [] as [&str; 0]);
}

#[test]
fn the_rules_and_the_dashboard_are_those_of_deploy() {
    needs!("helm3", "helm4", "validate-custom", "node");
    let rendered = everything();
    let rules = rendered.the("PrometheusRule");
    validate_custom(rules);
    assert_eq!(rules["spec"], yaml("deploy/prometheus/rules.yaml"));
    assert_eq!(rules["metadata"]["labels"]["release"], "prometheus");
    let dashboard = rendered.called("ConfigMap", "hub-crossmount-dashboard");
    let metadata = &dashboard["metadata"];
    assert_eq!(metadata["labels"]["grafana_dashboard"], "1");
    assert_eq!(metadata["annotations"]["grafana_folder"], "registries");
    let text = dashboard["data"]["crossmount.json"].as_str().unwrap();
    let file = fs::read_to_string(project("deploy/grafana/crossmount.json")).unwrap();
    assert_eq!(text.trim(), file.trim());
}

#[test]
fn a_packaged_chart_brings_the_rules_and_the_dashboard() {
    needs!("helm3", "helm4");
    for name in ["helm3", "helm4"] {
        let home = tempfile::tempdir().unwrap();
        let mut package = helm(name, &["package", "--destination"]);
        let output = tools::run(package.arg(home.path()).arg(chart()));
        let warned = String::from_utf8(output.stderr).unwrap();
        assert_eq!(warned, "", "{name}");
        let archive = home.path().join("crossmount-0.1.0.tgz");
        let values = Values::named("everything");
        let rendered = Rendered::from(&archive, &values.arguments());
        assert_eq!(rendered.0, values.render().0);
    }
}

#[test]
fn the_service_monitor_fits_its_definition_and_finds_the_admin_service_alone() {
    needs!("helm3", "helm4", "validate-custom", "node");
    let rendered = everything();
    let monitor = rendered.the("ServiceMonitor");
    validate_custom(monitor);
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let endpoints = json!([{"port": "admin", "path": "/metrics", "interval": "1m"}]);
    assert_eq!(monitor["spec"]["endpoints"], endpoints);
    let wanted = &monitor["spec"]["selector"]["matchLabels"];
    let found = |it: &&Value| it["kind"] == "Service" && covers(wanted, &it["metadata"]["labels"]);
    let found: Vec<_> = rendered.0.iter().filter(found).collect();
    let [service] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(service["metadata"]["name"], "hub-crossmount-admin");
    assert_eq!(service["spec"]["ports"][0]["name"], "admin");
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
    let native = Values::named("native").render();
    let port = &native.called("Service", "hub-admin")["spec"]["ports"][0];
    let opened = &native.container("crossmount")["ports"][1];
    assert_eq!(
        (&port["port"], &port["targetPort"]),
        (&json!(9500), &json!(9600))
    );
    assert_eq!(opened["containerPort"], 9600);
}

#[test]
fn the_policy_opens_the_two_ports_to_those_who_are_named_and_to_the_test() {
    needs!("helm3", "helm4");
    let rendered = everything();
    let policy = &rendered.the("NetworkPolicy")["spec"];
    let labels = &rendered.the("Deployment")["spec"]["template"]["metadata"]["labels"];
    assert!(covers(&policy["podSelector"]["matchLabels"], labels));
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    assert!(policy["egress"].is_null(), "nothing may leave");
    let test = &rendered.the("Pod")["metadata"]["labels"];
    let ports = rendered.container("crossmount")["ports"]
        .as_array()
        .unwrap();
    let rules = policy["ingress"].as_array().unwrap();
    assert_eq!(rules.len(), 2);
    for ((rule, port), peers) in rules.iter().zip(ports).zip([3, 2]) {
        assert_eq!(rule["ports"][0]["port"], port["containerPort"]);
        let from = rule["from"].as_array().unwrap();
        assert_eq!(from.len(), peers);
        let last = &from[peers - 1]["podSelector"]["matchLabels"];
        assert!(covers(last, test));
        assert!(!covers(last, labels));
    }
    let policy = with(&["networkPolicy.enabled=true"]);
    let policy = &policy.the("NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress"]));
    assert!(policy["ingress"][0]["from"].is_null(), "everybody");
    assert_eq!(policy["ingress"][1]["from"][0], json!({"podSelector": {}}));
}

#[test]
fn the_budget_is_for_the_pods_and_takes_numbers_and_parts() {
    needs!("helm3", "helm4");
    let rendered = everything();
    let budget = &rendered.the("PodDisruptionBudget")["spec"];
    assert_eq!(budget["maxUnavailable"], "50%");
    let selector = &rendered.the("Deployment")["spec"]["selector"];
    assert_eq!(&budget["selector"], selector);
    for most in [0, 1] {
        let most_of = format!("podDisruptionBudget.maxUnavailable={most}");
        let rendered = with(&["podDisruptionBudget.enabled=true", &most_of]);
        let budget = &rendered.the("PodDisruptionBudget")["spec"];
        assert_eq!(budget["maxUnavailable"], most);
    }
}

#[test]
fn what_is_extra_comes_to_the_container_that_it_is_for() {
    needs!("helm3", "helm4");
    let rendered = everything();
    let (crossmount, registry) = (
        rendered.container("crossmount"),
        rendered.container("registry"),
    );
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&crossmount["env"]), ["CROSSMOUNT_LOG_LEVEL"]);
    assert_eq!(crossmount["envFrom"][0]["secretRef"]["name"], "crossmount");
    let expected = [
        "REGISTRY_HTTP_SECRET",
        "REGISTRY_LOG_LEVEL",
        "REGISTRY_NOTIFICATIONS_ENDPOINTS",
    ];
    assert_eq!(names(&registry["env"]), expected);
    assert_eq!(registry["envFrom"][0]["configMapRef"]["name"], "proxies");
    let mounts = names(&crossmount["volumeMounts"]);
    assert_eq!(mounts, ["crossmount-config", "data", "tls"]);
    let mounts = names(&registry["volumeMounts"]);
    assert_eq!(mounts, ["registry-config", "data", "tmp"]);
    let volumes = names(&rendered.pod()["volumes"]);
    assert!(volumes.ends_with(&["tls".to_owned(), "tmp".to_owned()]));
    // The certificate that the configuration names is where the volume is.
    let tls = &rendered.config("crossmount.yaml")["listen"]["tls"];
    let folder = crossmount["volumeMounts"][2]["mountPath"].as_str().unwrap();
    for file in ["certificate", "key"] {
        assert!(tls[file].as_str().unwrap().starts_with(folder));
    }
}

#[test]
fn what_cannot_be_added_is_refused_with_the_reason() {
    needs!("helm3", "helm4");
    let cases: &[(&[&str], &[&str])] = &[
        (&["extraVolumes[0].name=data"], &["a volume data already"]),
        (
            &["registry.extraVolumeMounts[0].name=a"],
            &["registry.extraVolumeMounts", "no volume is called a"],
        ),
        (
            &["crossmount.extraVolumeMounts[0].name=a"],
            &["crossmount.extraVolumeMounts", "no volume is called a"],
        ),
        (
            &["registry.extraEnv[0].name=REGISTRY_HTTP_ADDR"],
            &["REGISTRY_HTTP_ADDR", "registry.config"],
        ),
        (
            &["registry.extraEnv[0].name=REGISTRY_AUTH_HTPASSWD_PATH"],
            &["REGISTRY_AUTH_HTPASSWD_PATH"],
        ),
        (
            &["registry.extraEnv[0].name=REGISTRY_STORAGE"],
            &["REGISTRY_STORAGE:"],
        ),
        (
            &["crossmount.extraEnv[0].name=CROSSMOUNT_UPSTREAM_URL"],
            &["CROSSMOUNT_UPSTREAM_URL", "crossmount.config"],
        ),
        (
            &[
                "extraVolumes[0].name=tls",
                "crossmount.config.listen.tls.certificate=/etc/crossmount-tls/tls.crt",
                "crossmount.config.listen.tls.key=/etc/crossmount-tls/tls.key",
                "crossmount.extraVolumeMounts[0].name=tls",
                "crossmount.extraVolumeMounts[0].mountPath=/etc/crossmount-tls/tls.crt",
                "crossmount.extraVolumeMounts[0].subPath=tls.crt",
            ],
            &["listen.tls.certificate", "without subPath"],
        ),
        (
            &[
                "extraVolumes[0].name=tls",
                "crossmount.config.listen.tls.certificate=/certificates/tls.crt",
                "crossmount.config.listen.tls.key=/keys/tls.key",
                "crossmount.extraVolumeMounts[0].name=tls",
                "crossmount.extraVolumeMounts[0].mountPath=/keys/",
                "crossmount.extraVolumeMounts[0].subPath=hub",
            ],
            &["listen.tls.key", "without subPath"],
        ),
        (
            &["podMonitor.enabled=true", "serviceMonitor.enabled=true"],
            &["twice"],
        ),
        (
            &["podDisruptionBudget.maxUnavailable=half"],
            &["maxUnavailable"],
        ),
    ];
    refuses_each(cases);
}
