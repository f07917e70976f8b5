//! The kustomize component that puts crossmount before Pulp's API.

use crate::{needs, support};
use std::fs;
use std::process::Command;
use support::helm::{Rendered, check_offline, project, validate};
use support::tools;

fn example() -> Rendered {
    let mut kubectl = Command::new(tools::find("kubectl").unwrap());
    kubectl.arg("kustomize");
    let output = tools::run(kubectl.arg(project("deploy/kustomize/pulp-example")));
    Rendered::read(&String::from_utf8(output.stdout).unwrap())
}

#[test]
fn clients_reach_crossmount_and_crossmount_reaches_pulp() {
    needs!("kubectl");
    let rendered = example();
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
    // Pulp outlives what crossmount may still have to finish.
    let sleeps = &api["lifecycle"]["preStop"]["exec"]["command"][1];
    let sleeps: u64 = sleeps.as_str().unwrap().parse().unwrap();
    let grace = rendered.pod()["terminationGracePeriodSeconds"]
        .as_u64()
        .unwrap();
    assert!(25 < sleeps && sleeps < grace, "{sleeps} {grace}");
    // The generated name of the configuration is the one that the pod mounts.
    let volume = &rendered.pod()["volumes"][0]["configMap"]["name"];
    assert_eq!(volume, &rendered.the("ConfigMap")["metadata"]["name"]);
    let image = rendered.container("crossmount")["image"].as_str().unwrap();
    assert!(image.contains("/crossmount:"), "{image}");
}

#[test]
fn kubernetes_takes_what_it_makes() {
    needs!("kubectl", "kubernetes-validate");
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pulp.yaml");
    example().built_in(&file);
    assert!(fs::metadata(&file).unwrap().len() > 1000);
    for minor in [25, 31, 37] {
        validate(minor, std::slice::from_ref(&file));
    }
}
