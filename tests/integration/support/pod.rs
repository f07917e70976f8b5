//! The chart's pod, played by podman, with the kubelet's part at its end.

use super::helm::{Rendered, chart};
use super::podman::{CROSSMOUNT, Engine, REGISTRY, engine};
use super::registry_client::Client;
use super::{free_port, raw_http, wait_until};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const NAME: &str = "hub-crossmount-pod-0";

pub struct Pod {
    pub port: u16,
    pub admin: u16,
    /// The pod's description, as the chart renders it.
    pub spec: Value,
    engine: &'static Engine,
}

impl Pod {
    /// The chart's plain form with this image and ports that are free; ready.
    pub fn play() -> Self {
        let (engine, port, admin) = (engine(), free_port(), free_port());
        let home = tempfile::tempdir().unwrap();
        let values = json!({
            "crossmount": {
                "nativeSidecar": false,
                "image": {"repository": CROSSMOUNT, "tag": "latest", "pullPolicy": "Never"},
                "config": {
                    "listen": {"address": format!(":{port}")},
                    "admin": {"address": format!(":{admin}")},
                },
            },
            "registry": {"image": {"pullPolicy": "Never"}},
        });
        let file = home.path().join("values.json");
        std::fs::write(&file, values.to_string()).unwrap();
        let rendered = Rendered::from(&chart(), &["--values", file.to_str().unwrap()]);
        let spec = rendered.the("Deployment")["spec"]["template"]["spec"].clone();
        let pod = Self {
            port,
            admin,
            spec,
            engine,
        };
        assert_eq!(pod.container("registry")["image"], REGISTRY);
        // What an earlier run that was ended left behind.
        pod.remove();
        let kinds = ["ConfigMap", "PersistentVolumeClaim", "Deployment"];
        let documents: Vec<_> = kinds
            .iter()
            .map(|kind| rendered.the(kind).to_string())
            .collect();
        let file = home.path().join("pod.yaml");
        // JSON is YAML too.
        std::fs::write(&file, documents.join("\n---\n")).unwrap();
        engine.podman(&["play", "kube", file.to_str().unwrap()]);
        wait_until("the pod is ready", || {
            raw_http::Connection::to(admin).is_ok()
                && raw_http::Request::new("GET", "/readyz")
                    .try_send(admin)
                    .is_ok_and(|answer| answer.status == 200)
        });
        pod
    }

    pub fn client(&self) -> Client {
        Client::new(self.port)
    }

    pub fn container(&self, name: &str) -> &Value {
        let all = self.spec["containers"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()
    }

    /// Where the registry's folder is on this machine.
    pub fn root(&self) -> PathBuf {
        let format = "{{.Mountpoint}}";
        let volume = ["volume", "inspect", "--format", format, "hub-crossmount"];
        let output = self.engine.podman(&volume);
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    }

    /// What podman says of a container, in this form.
    pub fn say(&self, container: &str, format: &str) -> String {
        self.engine.say(&format!("{NAME}-{container}"), format)
    }

    /// Runs the registry's `preStop`, and ends it after that, as a kubelet does.
    pub fn end_registry(&self) {
        let registry = format!("{NAME}-registry");
        let hook = &self.container("registry")["lifecycle"]["preStop"]["httpGet"];
        let drained = raw_http::get(self.admin, hook["path"].as_str().unwrap());
        assert_eq!(drained.expect(200).text(), "drained\n");
        self.engine.podman(&["stop", "--time", "10", &registry]);
    }

    /// Ends crossmount by SIGTERM, and waits for it within the pod's grace.
    pub fn end_crossmount(&self) {
        let grace = self.spec["terminationGracePeriodSeconds"].to_string();
        let container = format!("{NAME}-crossmount");
        self.engine.podman(&["stop", "--time", &grace, &container]);
    }

    /// How long crossmount goes on serving when it is told to end, and how long it may take.
    pub const DRAIN_DELAY: Duration = Duration::from_secs(5);
    pub const TIMEOUT: Duration = Duration::from_secs(25);

    fn remove(&self) {
        self.engine.try_podman(&["pod", "rm", "--force", NAME]);
        for volume in ["hub-crossmount", "hub-crossmount-config"] {
            let arguments = ["volume", "rm", "--force", volume];
            self.engine.try_podman(&arguments);
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["registry", "crossmount"] {
                let log = ["logs", "--tail", "15", &format!("{NAME}-{name}")];
                let output = self.engine.podman(&log);
                let text = [output.stdout, output.stderr].concat();
                eprintln!("--- {name}:\n{}", String::from_utf8_lossy(&text));
            }
        }
        self.remove();
    }
}
