//! The way around crossmount at night: what the documentation says takes it out of the pod.

use crate::{needs, support};
use serde_json::Value;
use std::fs;
use std::process::Command;
use support::helm::{Values, project};
use support::tools;

const PAGE: &str = "docs/src/how-to/out-of-the-way.md";

/// The page's `bypass.yaml`.
fn patch() -> String {
    let page = fs::read_to_string(project(PAGE)).unwrap();
    let (_, block) = page.split_once("```yaml\n").unwrap();
    block.split("```").next().unwrap().to_owned()
}

/// The pod of a Deployment to which the patch was applied.
fn patched(deployment: &Value) -> Value {
    let home = tempfile::tempdir().unwrap();
    let (file, by) = (
        home.path().join("deployment.json"),
        home.path().join("bypass.yaml"),
    );
    fs::write(&file, deployment.to_string()).unwrap();
    fs::write(&by, patch()).unwrap();
    let mut kubectl = Command::new(tools::find("kubectl").unwrap());
    kubectl.args(["patch", "--local", "--output", "json", "--filename"]);
    kubectl.arg(file).arg("--patch-file").arg(by);
    let output = tools::run(&mut kubectl);
    let patched: Value = serde_json::from_slice(&output.stdout).unwrap();
    patched["spec"]["template"]["spec"].clone()
}

fn names(containers: &Value) -> Vec<&str> {
    let all = containers.as_array().map_or(&[][..], Vec::as_slice);
    all.iter().map(|it| it["name"].as_str().unwrap()).collect()
}

#[test]
fn the_patch_of_the_page_leaves_the_registry_on_the_port_of_clients() {
    needs!("helm3", "helm4", "kubectl");
    for values in Values::every() {
        let rendered = values.render();
        let deployment = rendered.the("Deployment");
        let before = &deployment["spec"]["template"]["spec"];
        let all = [&before["initContainers"], &before["containers"]]
            .map(names)
            .concat();
        assert!(all.contains(&"crossmount"), "{}", values.name());
        let pod = patched(deployment);
        assert!(
            names(&pod["initContainers"]).is_empty(),
            "{}",
            values.name()
        );
        assert_eq!(names(&pod["containers"]), ["registry"], "{}", values.name());
        let env = pod["containers"][0]["env"].as_array().unwrap();
        let address = env.iter().find(|it| it["name"] == "REGISTRY_HTTP_ADDR");
        assert_eq!(address.unwrap()["value"], ":5000", "{}", values.name());
    }
}
