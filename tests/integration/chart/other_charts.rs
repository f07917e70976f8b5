//! crossmount in other charts' pods: by the helper templates, and by a public chart's own values.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use support::helm::{
    HELMS, Rendered, SIDECAR_VERSIONS, chart, check_offline, helm, project, validate,
};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::{raw_http, tools};

/// The blocks of YAML under "In another chart" in the chart's README: dependency, values, pod.
fn from_the_readme() -> [String; 3] {
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## In another chart\n").unwrap();
    let blocks = section.split("```yaml\n").skip(1);
    let blocks: Vec<_> = blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect();
    blocks.try_into().unwrap()
}

/// A chart that runs a registry and takes crossmount in just as the README says.
fn write_parent(folder: &Path) {
    let [dependency, values, pod] = from_the_readme();
    let here = format!("file://{}", chart().display());
    assert!(dependency.contains("file://../crossmount"));
    let dependency = dependency.replace("file://../crossmount", &here);
    let about = "apiVersion: v2\nname: parent\nversion: 0.1.0\n";
    let registry = "\
registry:
  http: {addr: '127.0.0.1:5010', host: 'https://registry.example.com'}
  storage: {filesystem: {rootdirectory: /var/lib/registry}}
";
    let template = format!(
        "\
{{{{- define \"pod\" }}}}
{{{{- $registry := .Values.registry }}}}
{pod}
{{{{- end }}}}
apiVersion: v1
kind: ConfigMap
metadata: {{name: crossmount}}
data:
  crossmount.yaml: |
    {{{{- include \"crossmount.configuration\" (dict \"registry\" .Values.registry) | nindent 4 }}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: registry}}
spec:
  enableServiceLinks: false
  {{{{- $pod := include \"pod\" . | fromYaml }}}}
  initContainers: {{{{ toJson $pod.initContainers }}}}
  containers:
    - {{name: registry, image: registry}}
  volumes:
    - {{name: data, emptyDir: {{}}}}
    - {{name: crossmount-config, configMap: {{name: crossmount}}}}
"
    );
    fs::create_dir_all(folder.join("templates")).unwrap();
    fs::write(folder.join("Chart.yaml"), format!("{about}{dependency}")).unwrap();
    fs::write(folder.join("values.yaml"), format!("{values}{registry}")).unwrap();
    fs::write(folder.join("templates/pod.yaml"), template).unwrap();
}

#[test]
fn another_chart_takes_the_sidecar_as_the_readme_says() {
    needs!("helm3", "helm4", "kubernetes-validate");
    let home = tempfile::tempdir().unwrap();
    let parent = home.path().join("parent");
    write_parent(&parent);
    for name in HELMS {
        tools::run(helm(name, &["dependency", "update"]).arg(&parent));
        tools::run(helm(name, &["lint", "--strict"]).arg(&parent));
    }
    let rendered = Rendered::from(&parent, &[]);
    let kinds: Vec<_> = rendered
        .0
        .iter()
        .map(|resource| &resource["kind"])
        .collect();
    assert_eq!(kinds, ["ConfigMap", "Pod"], "nothing but the parent's own");
    let file = home.path().join("pod.yaml");
    rendered.built_in(&file);
    for minor in SIDECAR_VERSIONS {
        validate(minor, std::slice::from_ref(&file));
    }
    check_offline(rendered.file("crossmount.yaml"));
    let upstream = &rendered.config("crossmount.yaml")["upstream"];
    assert_eq!(upstream["external_url"], "https://registry.example.com");

    let sidecar = &rendered.the("Pod")["spec"]["initContainers"][0];
    let own = Rendered::from(&chart(), &[]);
    let mut expected = own.container("crossmount").clone();
    let mounts = json!([
        {"name": "crossmount-config", "mountPath": "/etc/crossmount", "readOnly": true},
        {"name": "data", "mountPath": "/var/lib/registry"},
    ]);
    expected["volumeMounts"] = mounts;
    assert_eq!(sidecar, &expected);

    let plain = ["--set", "crossmount.crossmount.nativeSidecar=false"];
    let old = [&plain[..], &["--kube-version", "1.25.0"]].concat();
    let rendered = Rendered::from(&parent, &old);
    let container = &rendered.the("Pod")["spec"]["initContainers"][0];
    assert!(container["restartPolicy"].is_null());
}

#[test]
fn a_registry_of_another_chart_may_be_on_an_object_store() {
    needs!("helm3", "helm4");
    let home = tempfile::tempdir().unwrap();
    let parent = home.path().join("parent");
    write_parent(&parent);
    tools::run(helm("helm4", &["dependency", "update"]).arg(&parent));
    let storage = "registry.storage.filesystem=null,registry.storage.gcs.bucket=images";
    let auth = "registry.auth.htpasswd.path=/logins";
    let rendered = Rendered::from(&parent, &["--set", storage, "--set", auth]);
    let expected = json!({
        "listen": {"address": ":5000"},
        "admin": {"address": ":9500"},
        "upstream": {"url": "http://127.0.0.1:5010", "version": 2},
        "mount": {"writer": "registry"},
        "store": {"gcs": {"bucket": "images"}},
        "access": {"mode": "htpasswd"},
    });
    assert_eq!(rendered.config("crossmount.yaml"), expected);
}

fn twuni() -> Value {
    let file = project("examples/twuni-docker-registry-values.yaml");
    serde_yaml::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn twuni_configuration(values: &Value) -> &str {
    values["podAnnotations"]["crossmount/configuration"]
        .as_str()
        .unwrap()
}

#[test]
fn the_values_for_the_public_chart_make_a_valid_pod() {
    needs!("kubernetes-validate");
    let values = twuni();
    let mut volumes = values["extraVolumes"].as_array().unwrap().clone();
    volumes.push(json!({"name": "data", "emptyDir": {}}));
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "registry", "annotations": values["podAnnotations"]},
        "spec": {
            "initContainers": values["initContainers"],
            "containers": [{"name": "docker-registry", "image": "registry"}],
            "volumes": volumes,
        },
    });
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    fs::write(&file, pod.to_string()).unwrap();
    for minor in SIDECAR_VERSIONS {
        validate(minor, &[file.path().to_owned()]);
    }
    let [sidecar] = values["initContainers"].as_array().unwrap().as_slice() else {
        panic!("not one init container");
    };
    assert_eq!(sidecar["restartPolicy"], "Always");
    for mount in sidecar["volumeMounts"].as_array().unwrap() {
        let named = |volume: &&Value| volume["name"] == mount["name"];
        assert!(volumes.iter().any(|volume| named(&volume)), "{mount}");
    }
    let read = &values["extraVolumes"][0]["downwardAPI"]["items"][0];
    assert_eq!(read["path"], "crossmount.yaml");
    let annotation = "metadata.annotations['crossmount/configuration']";
    assert_eq!(read["fieldRef"]["fieldPath"], annotation);
}

#[test]
fn the_values_for_the_public_chart_put_crossmount_on_the_services_port() {
    let values = twuni();
    let text = twuni_configuration(&values);
    check_offline(text);
    let ours: Value = serde_yaml::from_str(text).unwrap();
    // That chart's Service, its probes and the mount of its volume are fixed.
    assert_eq!(ours["listen"]["address"], ":5000");
    assert_eq!(
        ours["store"]["filesystem"]["rootdirectory"],
        "/var/lib/registry"
    );
    let registry = values["configData"]["http"]["addr"].as_str().unwrap();
    assert_eq!(ours["upstream"]["url"], format!("http://{registry}"));
    assert!(registry.starts_with("127.0.0.1:") && !registry.ends_with(":5000"));
}

#[test]
fn the_public_charts_probes_pass_through_crossmount() {
    needs!("docker-registry");
    let registry = Registry::start();
    let values = twuni();
    let configuration = serde_yaml::from_str(twuni_configuration(&values)).unwrap();
    let sidecar = Sidecar::with_delivered_config(&registry, &configuration);
    raw_http::get(sidecar.port, "/").expect(200);
    raw_http::get(sidecar.admin, "/readyz").expect(200);
}
