//! The password of the chart's Valkey and the key of fingerprints: generated once, and kept.

use crate::chart::shared_knowledge::{LEARNS, VALKEY, with_valkey};
use crate::{needs, support};
use serde_json::{Value, json};
use support::helm::{HELMS, Rendered, chart, covers, helm};
use support::misbehaving_upstream::{MisbehavingUpstream, Reply};
use support::tools;

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
fn an_upgrade_keeps_the_password_and_the_key() {
    needs!("helm3", "helm4");
    let both = json!({"password": "a2VwdA==", "fingerprint-key": "a2VwdCB0b28="});
    let password_alone = json!({"password": "a2VwdA=="});
    for kept in [both, password_alone] {
        let cluster = cluster_with_secret(&kept);
        for name in HELMS {
            let settings = format!("valkey.enabled=true,{LEARNS}");
            let arguments = [
                "template",
                "hub",
                "--namespace=images",
                "--dry-run=server",
                "--disable-openapi-validation",
                "--kube-token=any",
                "--set",
                &settings,
                "--kube-apiserver",
            ];
            let mut command = helm(name, &arguments);
            let output = tools::run(command.arg(cluster.url()).arg(chart()));
            let rendered = Rendered::read(&String::from_utf8(output.stdout).unwrap());
            let data = &rendered.called("Secret", VALKEY)["data"];
            assert!(covers(&kept, data), "{name}: {data}");
            assert!(data["fingerprint-key"].as_str().unwrap().len() > 10);
        }
    }
}

/// As much of Kubernetes' API as helm needs to see one Secret of the release.
fn cluster_with_secret(data: &Value) -> MisbehavingUpstream {
    let resources = |version: &str, kinds: &[&str]| {
        let resource = |kind: &&str| {
            json!({
                "kind": kind, "name": format!("{}s", kind.to_lowercase()), "singularName": "",
                "namespaced": true, "verbs": ["get"],
            })
        };
        let all: Vec<_> = kinds.iter().map(resource).collect();
        json!({"kind": "APIResourceList", "groupVersion": version, "resources": all})
    };
    let core = [
        "Secret",
        "ConfigMap",
        "Service",
        "Pod",
        "PersistentVolumeClaim",
    ];
    let (core, apps) = (
        resources("v1", &core),
        resources("apps/v1", &["Deployment"]),
    );
    let version = json!({"groupVersion": "apps/v1", "version": "v1"});
    let groups = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [
        {"name": "apps", "versions": [version], "preferredVersion": version},
    ]});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "data": data,
        "metadata": {
            "name": VALKEY, "namespace": "images",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {
                "meta.helm.sh/release-name": "hub", "meta.helm.sh/release-namespace": "images",
            },
        },
    });
    MisbehavingUpstream::start(move |heard| {
        let path = heard.target.split('?').next().unwrap();
        let found = match path {
            "/version" => json!({"major": "1", "minor": "31", "gitVersion": "v1.31.0"}),
            "/api" => json!({"kind": "APIVersions", "versions": ["v1"]}),
            "/apis" => groups.clone(),
            "/api/v1" => core.clone(),
            "/apis/apps/v1" => apps.clone(),
            path if path.ends_with(&format!("/namespaces/images/secrets/{VALKEY}")) => {
                secret.clone()
            }
            _ => Value::Null,
        };
        let (status, body) = match found {
            Value::Null => {
                let body = json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "reason": "NotFound", "code": 404,
                });
                ("404 Not Found", body.to_string())
            }
            found => ("200 OK", found.to_string()),
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}"
        );
        Reply::Answer(format!("{head}\r\n\r\n{body}").into_bytes())
    })
}
