//! The kustomize components that put crossmount before Pulp's API and before distribution, with its
//! store on a volume or in an object store.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use support::helm::{Rendered, chart, check_offline, covers, project, validate};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::{raw_http, tools};

fn example(name: &str) -> Rendered {
    let folder = project("deploy/kustomize").join(format!("{name}-example"));
    let mut kubectl = Command::new(tools::find("kubectl").unwrap());
    let output = tools::run(kubectl.arg("kustomize").arg(folder));
    Rendered::read(&String::from_utf8(output.stdout).unwrap())
}

/// The container behind outlives what crossmount may still have to finish.
#[track_caller]
fn outlives(rendered: &Rendered, behind: &str) {
    let hook = &rendered.container(behind)["lifecycle"]["preStop"]["httpGet"];
    assert_eq!(hook["port"], 9500);
    let path = hook["path"].as_str().unwrap();
    let within = path.strip_prefix("/drained?within=").unwrap();
    let within: u64 = within.trim_end_matches('s').parse().unwrap();
    let grace = rendered.pod()["terminationGracePeriodSeconds"].as_u64();
    assert!(25 < within && within < grace.unwrap(), "{within} {grace:?}");
}

/// The generated name of the configuration is the one that the pod mounts.
#[track_caller]
fn mounts_its_configuration(rendered: &Rendered) {
    let volumes = rendered.pod()["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|it| it["name"] == "crossmount");
    let name = &volume.unwrap()["configMap"]["name"];
    assert_eq!(name, &rendered.the("ConfigMap")["metadata"]["name"]);
    let image = rendered.container("crossmount")["image"].as_str().unwrap();
    assert!(image.contains("/crossmount:"), "{image}");
}

#[test]
fn clients_reach_crossmount_and_crossmount_reaches_pulp() {
    needs!("kubectl");
    let rendered = example("pulp");
    let port = &rendered.the("Service")["spec"]["ports"][0];
    assert_eq!(port["port"], 24817);
    assert_eq!(port["targetPort"], 5000);
    let config = rendered.config("crossmount.yaml");
    assert_eq!(config["listen"]["address"], ":5000");
    assert_eq!(config["upstream"]["kind"], "pulp");
    let api = rendered.container("api");
    let upstream = format!("http://127.0.0.1:{}", api["ports"][0]["containerPort"]);
    assert_eq!(config["upstream"]["url"], upstream);
    check_offline(rendered.file("crossmount.yaml"));
    outlives(&rendered, "api");
    mounts_its_configuration(&rendered);
}

#[test]
fn crossmount_takes_the_place_of_distribution() {
    needs!("kubectl");
    let rendered = example("distribution");
    let (crossmount, registry) = (
        rendered.container("crossmount"),
        rendered.container("registry"),
    );
    let config = rendered.config("crossmount.yaml");
    check_offline(rendered.file("crossmount.yaml"));
    // Service and probes name the registry's port, and find crossmount there.
    assert_eq!(config["listen"]["address"], ":5000");
    for container in [crossmount, registry] {
        assert_eq!(container["ports"][0]["containerPort"], 5000);
    }
    let service = &rendered.the("Service")["spec"]["ports"][0];
    assert_eq!(service["targetPort"], registry["ports"][0]["name"]);
    assert_eq!(registry["env"][0]["name"], "REGISTRY_HTTP_ADDR");
    let address = registry["env"][0]["value"].as_str().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert_eq!(config["upstream"]["url"], format!("http://{address}"));
    // One folder, one user.
    let data = &crossmount["volumeMounts"][1];
    assert_eq!(data, &registry["volumeMounts"][0]);
    let root = &config["store"]["filesystem"]["rootdirectory"];
    assert_eq!(&data["mountPath"], root);
    for id in ["runAsUser", "runAsGroup"] {
        let theirs = &rendered.pod()["securityContext"][id];
        assert_eq!(&crossmount["securityContext"][id], theirs, "{id}");
    }
    outlives(&rendered, "registry");
    mounts_its_configuration(&rendered);
}

#[test]
fn crossmount_takes_the_place_of_a_registry_on_an_object_store() {
    needs!("kubectl");
    let rendered = example("object-store");
    let (crossmount, registry) = (
        rendered.container("crossmount"),
        rendered.container("registry"),
    );
    let config = rendered.config("crossmount.yaml");
    assert_eq!(config["listen"]["address"], ":5000");
    for container in [crossmount, registry] {
        assert_eq!(container["ports"][0]["containerPort"], 5000);
    }
    let address = registry["env"][0]["value"].as_str().unwrap();
    assert_eq!(config["upstream"]["url"], format!("http://{address}"));
    // One bucket, which crossmount lists with keys of its own.
    let value = |container: &Value, name: &str| {
        let env = container["env"].as_array().unwrap();
        env.iter().find(|it| it["name"] == name).unwrap().clone()
    };
    for key in ["bucket", "region"] {
        let variable = format!("REGISTRY_STORAGE_S3_{}", key.to_uppercase());
        let theirs = &value(registry, &variable)["value"];
        assert_eq!(&config["store"]["s3"][key], theirs, "{key}");
    }
    for key in ["ACCESSKEY", "SECRETKEY"] {
        let ours = value(crossmount, &format!("CROSSMOUNT_STORE_S3_{key}"));
        let theirs = value(registry, &format!("REGISTRY_STORAGE_S3_{key}"));
        let secret = |it: &Value| it["valueFrom"]["secretKeyRef"]["name"].clone();
        assert_ne!(secret(&ours), secret(&theirs));
    }
    // The certificates that are named are where the volume is.
    let certificates = value(crossmount, "SSL_CERT_FILE")["value"].clone();
    let folder = crossmount["volumeMounts"][1]["mountPath"].as_str().unwrap();
    assert!(certificates.as_str().unwrap().starts_with(folder));
    outlives(&rendered, "registry");
    mounts_its_configuration(&rendered);
    check_offline(rendered.file("crossmount.yaml"));
}

#[test]
fn nothing_of_the_registry_is_lost_to_the_components() {
    needs!("kubectl");
    for name in ["distribution", "object-store"] {
        loses_nothing(name);
    }
}

#[track_caller]
fn loses_nothing(name: &str) {
    let rendered = example(name);
    let file = format!("deploy/kustomize/{name}-example/registry.yaml");
    let before = Rendered::read(&fs::read_to_string(project(&file)).unwrap());
    let mut after = rendered.container("registry").clone();
    let added = after.as_object_mut().unwrap().remove("lifecycle");
    assert!(added.is_some());
    after["env"].as_array_mut().unwrap().remove(0);
    assert_eq!(&after, before.container("registry"));
    let (mut after, before) = (rendered.pod().clone(), before.pod());
    let volumes = after["volumes"].as_array_mut().unwrap();
    volumes.retain(|volume| volume["name"] != "crossmount" && volume["name"] != "ca-certificates");
    volumes.sort_by_key(|volume| volume["name"].to_string());
    let mut expected = before["volumes"].as_array().unwrap().clone();
    expected.sort_by_key(|volume| volume["name"].to_string());
    assert_eq!(volumes, &expected);
    assert_eq!(after["securityContext"], before["securityContext"]);
}

/// Volume, folder and user are those of the pod that takes the folder over.
#[test]
fn the_directory_is_given_to_the_user_that_the_component_runs_as() {
    needs!("kubectl", "kubernetes-validate");
    let file = project("deploy/kustomize/distribution/chown.yaml");
    validate(25, std::slice::from_ref(&file));
    validate(37, std::slice::from_ref(&file));
    let once = Rendered::read(&fs::read_to_string(file).unwrap());
    let once = &once.the("Pod")["spec"];
    let rendered = example("distribution");
    let crossmount = rendered.container("crossmount");
    let user = &crossmount["securityContext"];
    let owner = format!("{}:{}", user["runAsUser"], user["runAsGroup"]);
    let data = &crossmount["volumeMounts"][1];
    let words = json!(["chown", "-R", owner, data["mountPath"]]);
    assert_eq!(once["containers"][0]["command"], words);
    assert_eq!(&once["containers"][0]["volumeMounts"][0], data);
    let volumes = rendered.pod()["volumes"].as_array().unwrap();
    assert!(volumes.contains(&once["volumes"][0]), "{volumes:?}");
    // It is nothing that the component applies.
    assert!(!rendered.has("Pod"));
}

#[test]
fn the_real_crossmount_mounts_by_the_components_configuration() {
    needs!("kubectl", "docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let config = example("distribution").config("crossmount.yaml");
    let sidecar = Sidecar::with_delivered_config(&registry, &config);
    raw_http::get(sidecar.admin, "/readyz").expect(200);
    let alice = registry.client().basic("alice", "right");
    let digest = alice.upload("source", b"a blob before the component");
    sidecar.verify_store_as(&alice);
    let answer = alice.at(sidecar.port).mount("target", &digest, "source");
    answer.expect(201);
    assert_eq!(sidecar.mounts("mounted", "none"), 1);
}

#[test]
fn the_real_registry_mounts_by_the_configuration_for_object_stores() {
    needs!("kubectl", "docker-registry", "htpasswd");
    let registry = Registry::with_htpasswd(&[("alice", "right")]);
    let mut config = example("object-store").config("crossmount.yaml");
    // The registry of this test keeps its data in a directory.
    config.as_object_mut().unwrap().remove("store");
    config["upstream"] = json!({"url": registry.url()});
    for port in ["listen", "admin"] {
        config[port]["address"] = json!("127.0.0.1:0");
    }
    let sidecar = Sidecar::from(&config);
    raw_http::get(sidecar.admin, "/readyz").expect(200);
    let alice = sidecar.client().basic("alice", "right");
    let digest = alice.upload("base/debian", b"a layer");
    alice.head_blob("app", &digest).expect(200);
    assert_eq!(sidecar.mounts("native", "none"), 1);
}

/// Server, login and permissions are those of the chart.
#[test]
fn the_valkey_component_gives_crossmount_the_valkey_of_the_chart() {
    needs!("kubectl", "helm3", "helm4");
    let rendered = example("valkey");
    let ours = rendered.called("Deployment", "crossmount-valkey");
    let ours = &ours["spec"]["template"]["spec"]["containers"][0];
    let learns = "valkey.enabled=true,valkey.existingSecret=crossmount-valkey,\
        crossmount.config.discovery.enabled=true,networkPolicy.enabled=true";
    let chart = Rendered::from(&chart(), &["--set", learns]);
    let theirs = chart.called("Deployment", "hub-crossmount-valkey");
    let mut theirs = theirs["spec"]["template"]["spec"]["containers"][0].clone();
    theirs["imagePullPolicy"].take();
    let theirs = theirs.as_object_mut().unwrap();
    theirs.retain(|_, value| !value.is_null());
    assert_eq!(ours.as_object().unwrap(), theirs);
    let registry = rendered.called("Deployment", "registry");
    let pod = &registry["spec"]["template"];
    let crossmount = pod["spec"]["containers"].as_array().unwrap().iter();
    let crossmount = crossmount.clone().find(|it| it["name"] == "crossmount");
    let env = crossmount.unwrap()["env"].as_array().unwrap();
    let expected = chart.container("crossmount")["env"].as_array().unwrap();
    for (ours, theirs) in env.iter().zip(expected) {
        let theirs = theirs.to_string();
        let theirs = theirs.replace("@hub-crossmount-valkey:", "@crossmount-valkey:");
        assert_eq!(ours.to_string(), theirs);
    }
    // The policy lets this pod in.
    let policy = &rendered.the("NetworkPolicy")["spec"];
    let client = &policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"];
    assert!(covers(client, &pod["metadata"]["labels"]));
    let config = rendered.config("crossmount.yaml");
    assert_eq!(config["discovery"]["enabled"], true);
}

#[test]
fn kubernetes_takes_what_they_make() {
    needs!("kubectl", "kubernetes-validate");
    let home = tempfile::tempdir().unwrap();
    let files = ["pulp", "distribution", "object-store", "valkey"].map(|name| {
        let file = home.path().join(format!("{name}.yaml"));
        example(name).built_in(&file);
        assert!(fs::metadata(&file).unwrap().len() > 1000);
        file
    });
    for minor in [25, 31, 37] {
        validate(minor, &files);
    }
}
