//! Registry and crossmount by docker compose.

use crate::{needs, support};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use support::helm::{Rendered, check_offline, project};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::{raw_http, tools};

const FILE: &str = "deploy/compose/docker-compose.yaml";
/// For use after it.
const WITH_VALKEY: &str = "deploy/compose/valkey.yaml";

fn read(path: &str) -> Value {
    serde_yaml::from_str(&fs::read_to_string(project(path)).unwrap()).unwrap()
}

fn config() -> Value {
    read("deploy/compose/crossmount.yaml")
}

#[test]
fn the_file_fits_the_specification_of_compose() {
    needs!("check-jsonschema");
    let mut check = Command::new(tools::find("check-jsonschema").unwrap());
    check.args(["--builtin-schema", "vendor.compose-spec"]);
    tools::run(check.arg(project(FILE)));
}

/// Server, login and permissions are those of the kustomize component.
#[test]
fn the_additional_file_gives_crossmount_the_same_valkey_as_kustomize() {
    needs!("check-jsonschema");
    let mut check = Command::new(tools::find("check-jsonschema").unwrap());
    check.args(["--builtin-schema", "vendor.compose-spec"]);
    tools::run(check.arg(project(WITH_VALKEY)));
    let services = read(WITH_VALKEY)["services"].take();
    let text = fs::read_to_string(project("deploy/kustomize/valkey/valkey.yaml")).unwrap();
    let component = Rendered::read(&text);
    let pod = &component.the("Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let valkey = &services["valkey"];
    assert_eq!(valkey["image"], container["image"]);
    // Compose has another use for a single dollar.
    let script = valkey["command"][0].as_str().unwrap().replace("$$", "$");
    assert_eq!(container["args"][0], script);
    assert_eq!(valkey["entrypoint"], container["command"]);
    assert!(valkey["ports"].is_null());
    let environment = &services["crossmount"]["environment"];
    let url = environment["CROSSMOUNT_DISCOVERY_REDIS_URL"].as_str();
    let expected = "redis://crossmount:${VALKEY_PASSWORD:?}@valkey:6379";
    assert_eq!(url, Some(expected));
    assert_eq!(environment["CROSSMOUNT_DISCOVERY_ENABLED"], "true");
    assert!(read(FILE)["services"]["crossmount"].is_object());
}

/// Where docker has compose, which Debian's has not.
#[test]
fn compose_itself_takes_the_file_where_it_is_installed() {
    let compose = || {
        let mut command = Command::new("docker");
        command.arg("compose");
        command
    };
    let version = compose().arg("version").output();
    if version.is_ok_and(|output| output.status.success()) {
        let mut command = compose();
        command.arg("--file").arg(project(FILE));
        tools::run(command.args(["config", "--quiet"]));
    }
}

#[test]
fn registry_and_crossmount_share_a_volume_as_one_user() {
    let file = read(FILE);
    let services = &file["services"];
    let (crossmount, registry) = (&services["crossmount"], &services["registry"]);
    assert_eq!(crossmount["user"], registry["user"]);
    let root = config()["store"]["filesystem"]["rootdirectory"].clone();
    let folder = json!(format!("registry:{}", root.as_str().unwrap()));
    for name in ["owner", "registry", "crossmount"] {
        assert_eq!(services[name]["volumes"][0], folder, "{name}");
    }
    assert!(file["volumes"].get("registry").is_some());
    let chown = json!(["chown", registry["user"], root]);
    assert_eq!(services["owner"]["entrypoint"], chown);
    let before = &registry["depends_on"]["owner"]["condition"];
    assert_eq!(before, "service_completed_successfully");
}

#[test]
fn clients_reach_crossmount_alone_and_this_machine_its_metrics() {
    let file = read(FILE);
    let (crossmount, registry) = (
        &file["services"]["crossmount"],
        &file["services"]["registry"],
    );
    let config = config();
    check_offline(&config.to_string());
    assert!(registry["ports"].is_null());
    // The image's own port.
    assert_eq!(config["upstream"]["url"], "http://registry:5000");
    assert_eq!(
        crossmount["ports"],
        json!(["5000:5000", "127.0.0.1:9500:9500"])
    );
    assert_eq!(config["listen"]["address"], ":5000");
    assert_eq!(config["admin"]["address"], ":9500");
    let mounted = crossmount["volumes"][1].as_str().unwrap();
    let place = crossmount["command"][2].as_str().unwrap();
    assert_eq!(mounted, format!("./crossmount.yaml:{place}:ro"));
    // It is ended first, and has the time that it may take.
    assert_eq!(crossmount["depends_on"], json!(["registry"]));
    let grace = crossmount["stop_grace_period"].as_str().unwrap();
    let grace: u32 = grace.trim_end_matches('s').parse().unwrap();
    assert!(grace > 25, "{grace}");
    let build = &crossmount["build"];
    let context = project("deploy/compose").join(build["context"].as_str().unwrap());
    assert!(
        context
            .join(build["dockerfile"].as_str().unwrap())
            .is_file()
    );
}

#[test]
fn the_real_crossmount_mounts_by_the_configuration_for_compose() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_delivered_config(&registry, &config());
    raw_http::get(sidecar.admin, "/readyz").expect(200);
    let client = registry.client();
    let digest = client.upload("source", b"a blob before compose");
    sidecar.verify_store();
    let answer = client.at(sidecar.port).mount("target", &digest, "source");
    answer.expect(201);
    assert_eq!(sidecar.mounts("mounted", "none"), 1);
}
