//! Real helm 3 and 4 on the chart, what they render, and who else looks at it.

use super::program_run::{Ended, run};
use super::sidecar::{BINARY, command};
use super::tools;
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const HELMS: [&str; 2] = ["helm3", "helm4"];
/// The minor versions of Kubernetes 1 for which the validator has schemas and native sidecars work.
pub const SIDECAR_VERSIONS: std::ops::RangeInclusive<u8> = 29..=37;

pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn chart() -> PathBuf {
    project("helm/crossmount")
}

/// A file of values by which the chart is tested, or the defaults alone.
pub struct Values(Option<PathBuf>);

impl Values {
    pub const DEFAULT: Self = Self(None);

    /// `helm/crossmount/ci/<name>-values.yaml`.
    pub fn named(name: &str) -> Self {
        Self(Some(chart().join(format!("ci/{name}-values.yaml"))))
    }

    pub fn every() -> Vec<Self> {
        let files = fs::read_dir(chart().join("ci")).unwrap();
        let files = files.map(|file| Self(Some(file.unwrap().path())));
        std::iter::once(Self::DEFAULT).chain(files).collect()
    }

    pub fn file(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    pub fn name(&self) -> &str {
        let name = self.0.as_ref().and_then(|file| file.file_name()?.to_str());
        name.map_or("default", |name| name.trim_end_matches("-values.yaml"))
    }

    pub fn arguments(&self) -> Vec<&str> {
        let file = self.0.as_ref().map(|file| file.to_str().unwrap());
        file.map_or(vec![], |file| vec!["--values", file])
    }

    pub fn is_plain(&self) -> bool {
        self.name() == "plain"
    }

    pub fn render(&self) -> Rendered {
        Rendered::from(&chart(), &self.arguments())
    }
}

/// A helm that leaves the machine's own helm alone.
pub fn helm(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(tools::find(name).unwrap());
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("helm");
    for kind in ["CACHE", "CONFIG", "DATA"] {
        command.env(format!("HELM_{kind}_HOME"), home.join(kind));
    }
    command.args(arguments);
    command
}

/// Both helms refuse to render the chart; each one's reason has all of the words.
#[track_caller]
pub fn refuses(arguments: &[&str], words: &[&str]) {
    for name in HELMS {
        let mut command = helm(name, &["template", "hub"]);
        let ended = run_helm(command.arg(chart()).args(arguments));
        assert_ne!(ended.code, Some(0), "{name} takes {arguments:?}");
        for word in words {
            assert!(ended.err.contains(word), "no {word:?} in: {}", ended.err);
        }
    }
}

/// Each of the settings, set together, makes helm refuse the chart with words.
#[track_caller]
pub fn refuses_each(cases: &[(&[&str], &[&str])]) {
    for (settings, words) in cases {
        let arguments: Vec<_> = settings.iter().flat_map(|it| ["--set", it]).collect();
        refuses(&arguments, words);
    }
}

fn run_helm(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What both helms make of a chart, which is the same.
pub struct Rendered(pub Vec<Value>);

impl Rendered {
    #[track_caller]
    pub fn from(chart: &Path, arguments: &[&str]) -> Self {
        let [three, four] = HELMS.map(|name| {
            let mut command = helm(name, &["template", "hub"]);
            let output = tools::run(command.arg(chart).args(arguments));
            documents(&String::from_utf8(output.stdout).unwrap())
        });
        assert_eq!(three, four, "{arguments:?}");
        Self(three)
    }

    /// Resources that somebody else has rendered.
    pub fn read(text: &str) -> Self {
        Self(documents(text))
    }

    pub fn has(&self, kind: &str) -> bool {
        self.0.iter().any(|resource| resource["kind"] == kind)
    }

    #[track_caller]
    pub fn the(&self, kind: &str) -> &Value {
        let found = self.0.iter().find(|resource| resource["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind}"))
    }

    #[track_caller]
    pub fn called(&self, kind: &str, name: &str) -> &Value {
        let is_it = |it: &&Value| it["kind"] == kind && it["metadata"]["name"] == name;
        let found = self.0.iter().find(is_it);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    pub fn pod(&self) -> &Value {
        &self.the("Deployment")["spec"]["template"]["spec"]
    }

    /// The containers under `initContainers` or `containers`.
    pub fn containers(&self, place: &str) -> &[Value] {
        self.pod()[place].as_array().map_or(&[], Vec::as_slice)
    }

    #[track_caller]
    pub fn container(&self, name: &str) -> &Value {
        let places = ["initContainers", "containers"].map(|place| self.containers(place));
        let found = places
            .iter()
            .copied()
            .flatten()
            .find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("no container {name}"))
    }

    /// A file of the `ConfigMap`, as text.
    pub fn file(&self, key: &str) -> &str {
        self.the("ConfigMap")["data"][key].as_str().unwrap()
    }

    pub fn config(&self, key: &str) -> Value {
        serde_yaml::from_str(self.file(key)).unwrap()
    }

    /// Those of Kubernetes itself, as a file that its validator reads.
    pub fn built_in(&self, file: &Path) {
        let own = |resource: &&Value| !resource["apiVersion"].as_str().unwrap().contains("coreos");
        let texts: Vec<_> = self.0.iter().filter(own).map(Value::to_string).collect();
        fs::write(file, texts.join("\n---\n")).unwrap();
    }
}

fn documents(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    let values = documents.map(|document| Value::deserialize(document).unwrap());
    values.filter(|value| !value.is_null()).collect()
}

/// Strict schemas of Kubernetes 1.`minor` take all of these files.
#[track_caller]
pub fn validate(minor: u8, files: &[PathBuf]) {
    let mut command = Command::new(tools::find("kubernetes-validate").unwrap());
    let version = format!("1.{minor}.0");
    command.args(["--strict", "--kubernetes-version", &version]);
    tools::run(command.args(files));
}

/// The definitions of the Prometheus operator take this resource.
#[track_caller]
pub fn validate_custom(resource: &Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, resource.to_string()).unwrap();
    let mut command = Command::new(tools::find("validate-custom").unwrap());
    tools::run(command.arg(file.path()));
}

/// `crossmount check --offline` takes this configuration without a warning.
#[track_caller]
pub fn check_offline(text: &str) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("crossmount.yaml");
    fs::write(&file, text).unwrap();
    let mut command = command(BINARY);
    command.args(["check", "--offline", "--config"]).arg(file);
    let ended = run(command);
    let said = ended.out + &ended.err;
    assert_eq!(ended.code, Some(0), "{said}\n{text}");
    assert!(!said.contains("warning"), "{said}\n{text}");
}

/// Every label that a selector wants is there.
pub fn covers(selector: &Value, labels: &Value) -> bool {
    let mut wanted = selector.as_object().unwrap().iter();
    wanted.all(|(key, value)| labels[key] == *value)
}
