//! The pod that the chart makes: its two containers, what they may do, and what they share.

use crate::{needs, support};
use serde_json::{Value, json};
use support::helm::{Rendered, Values, chart};

#[test]
fn a_native_sidecar_starts_before_the_registry_and_stays() {
    needs!("helm3", "helm4");
    let rendered = Values::DEFAULT.render();
    let [crossmount] = rendered.containers("initContainers") else {
        panic!("not one init container");
    };
    let [registry] = rendered.containers("containers") else {
        panic!("not one container");
    };
    assert_eq!(crossmount["restartPolicy"], "Always");
    assert_eq!(
        crossmount["startupProbe"]["httpGet"],
        json!({"path": "/healthz", "port": "admin"})
    );
    assert_eq!(registry["restartPolicy"], Value::Null);
}

#[test]
fn a_plain_container_stands_after_the_registry() {
    needs!("helm3", "helm4");
    let rendered = Values::named("plain").render();
    let names: Vec<_> = rendered
        .containers("containers")
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["registry", "crossmount"]);
    assert!(rendered.pod()["initContainers"].is_null());
    assert!(rendered.container("crossmount")["restartPolicy"].is_null());
}

#[test]
fn crossmount_speaks_for_the_registry_and_the_registry_outlasts_it() {
    needs!("helm3", "helm4");
    for values in Values::every() {
        let rendered = values.render();
        let (crossmount, registry) = (
            rendered.container("crossmount"),
            rendered.container("registry"),
        );
        for (probe, path) in [
            ("startupProbe", "/healthz"),
            ("livenessProbe", "/healthz"),
            ("readinessProbe", "/readyz"),
        ] {
            assert_eq!(
                crossmount[probe]["httpGet"],
                json!({"path": path, "port": "admin"})
            );
        }
        assert!(registry["readinessProbe"].is_null());
        let grace = rendered.pod()["terminationGracePeriodSeconds"]
            .as_u64()
            .unwrap();
        let hook = &registry["lifecycle"]["preStop"]["httpGet"];
        assert_eq!(hook["port"], crossmount["ports"][1]["containerPort"]);
        let path = hook["path"].as_str().unwrap();
        let seconds = path.strip_prefix("/drained?after=5s&within=").unwrap();
        let seconds: u64 = seconds.trim_end_matches('s').parse().unwrap();
        // A native sidecar gets its signal after that, and then delays nothing.
        let delay = &rendered.config("crossmount.yaml")["shutdown"]["drain_delay"];
        let is_native = rendered.pod()["initContainers"].is_array();
        assert_eq!(delay == "0s", is_native, "{}: {delay}", values.name());
        // The default of crossmount's shutdown.timeout, which the registry outlasts.
        assert!(25 < seconds, "{}", values.name());
        // The registry ends by itself, in its own time.
        let drains = &rendered.config("config.yml")["http"]["draintimeout"];
        let drains = drains.as_str().unwrap().trim_end_matches('s');
        let drains: u64 = drains.parse().unwrap();
        assert!(0 < drains && seconds + drains < grace, "{}", values.name());
    }
}

/// The kubelet asks from outside of the pod, where nothing of the registry's own can be reached.
#[test]
fn the_registrys_life_is_asked_for_through_crossmount() {
    needs!("helm3", "helm4");
    for values in Values::every() {
        let rendered = values.render();
        let probe = &rendered.container("registry")["livenessProbe"];
        let port = &rendered.container("crossmount")["ports"][0]["containerPort"];
        let is_tls = values.name() == "everything";
        let scheme = if is_tls { "HTTPS" } else { "HTTP" };
        let expected = json!({"path": "/", "port": port, "scheme": scheme});
        assert_eq!(probe["httpGet"], expected, "{}", values.name());
        let times = |key: &str| probe[key].as_u64().unwrap();
        assert!(times("periodSeconds") * times("failureThreshold") >= 120);
    }
    let probe = |setting: &str| {
        let rendered = Rendered::from(&chart(), &["--set", setting]);
        rendered.container("registry")["livenessProbe"].clone()
    };
    assert!(probe("registry.livenessProbe=null").is_null());
    let own = probe("registry.livenessProbe.exec.command={probe}");
    assert_eq!(own["exec"]["command"], json!(["probe"]));
    assert!(own["httpGet"].is_null(), "one action alone");
}

#[test]
fn no_container_may_do_more_than_its_work() {
    needs!("helm3", "helm4");
    for values in Values::every() {
        let rendered = values.render();
        let id = if values.name() == "native" {
            1_000_660_000
        } else {
            1000
        };
        let pod = rendered.pod();
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["enableServiceLinks"], false);
        for missing in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[missing].is_null(), "{missing}");
        }
        let has_account = values.name() == "object-store";
        assert_eq!(pod["serviceAccountName"].is_string(), has_account);
        let expected = json!({
            "runAsUser": id, "runAsGroup": id, "runAsNonRoot": true, "fsGroup": id,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        assert_eq!(pod["securityContext"], expected);
        let containers = ["initContainers", "containers"].map(|it| rendered.containers(it));
        for container in containers.iter().copied().flatten() {
            let expected = json!({
                "runAsUser": id, "runAsGroup": id, "runAsNonRoot": true,
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            });
            assert_eq!(container["securityContext"], expected);
            assert!(container["resources"]["requests"].is_object());
        }
    }
}

#[test]
fn both_containers_see_the_same_files_under_the_same_paths() {
    needs!("helm3", "helm4");
    let on_a_volume = |values: &Values| values.name() != "object-store";
    for values in Values::every().into_iter().filter(on_a_volume) {
        let rendered = values.render();
        let volumes: Vec<_> = rendered.pod()["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .collect();
        let shared = |name: &str| -> Vec<Value> {
            let mounts = rendered.container(name)["volumeMounts"].as_array().unwrap();
            let named = |mount: &Value| volumes.iter().any(|it| it["name"] == mount["name"]);
            assert!(mounts.iter().all(named), "{name}");
            let own = |mount: &&Value| {
                ["data", "registry-auth"].contains(&mount["name"].as_str().unwrap())
            };
            mounts.iter().filter(own).cloned().collect()
        };
        let mounts = shared("registry");
        assert_eq!(mounts, shared("crossmount"), "{}", values.name());
        let root = &rendered.config("config.yml")["storage"]["filesystem"]["rootdirectory"];
        assert_eq!(&mounts[0]["mountPath"], root);
        let logins = ["htpasswd", "tokens"].contains(&values.name());
        assert_eq!(mounts.len(), 1 + usize::from(logins), "{}", values.name());
    }
}

#[test]
fn the_volume_is_a_claim_of_its_own_or_one_that_exists_or_none() {
    needs!("helm3", "helm4");
    let cases = [
        (
            Values::DEFAULT,
            json!({"persistentVolumeClaim": {"claimName": "hub-crossmount"}}),
            true,
        ),
        (
            Values::named("existing-claim"),
            json!({"persistentVolumeClaim": {"claimName": "registry-data"}}),
            false,
        ),
        (Values::named("plain"), json!({"emptyDir": {}}), false),
    ];
    for (values, mut volume, is_made) in cases {
        let rendered = values.render();
        volume["name"] = json!("data");
        assert_eq!(rendered.pod()["volumes"][0], volume);
        assert_eq!(rendered.has("PersistentVolumeClaim"), is_made);
        assert_eq!(
            rendered.the("Deployment")["spec"]["strategy"]["type"],
            "Recreate"
        );
    }
    let shared = Values::named("replicas").render();
    assert_eq!(
        shared.the("PersistentVolumeClaim")["spec"]["storageClassName"],
        ""
    );
    assert_eq!(
        shared.the("Deployment")["spec"]["strategy"]["type"],
        "RollingUpdate"
    );
}
