//! The configurations of registry and crossmount that the chart makes: they agree, and they run.

use crate::{needs, support};
use serde_json::json;
use std::fs;
use support::helm::{Rendered, Values, chart, check_offline};
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::{raw_http, wait_until};

fn with(setting: &str) -> Rendered {
    Rendered::from(&chart(), &["--set", setting])
}

#[test]
fn the_image_tag_determines_the_registrys_version() {
    needs!("helm3", "helm4");
    let digest = "sha256:0f".to_owned() + &"0f".repeat(31);
    for (tag, version) in [
        ("2", 2),
        ("2.8.3", 2),
        ("v2.8", 2),
        ("2-alpine", 2),
        (&*format!("2@{digest}"), 2),
        ("3", 3),
        ("3.1.1", 3),
        ("v3.0.0-rc.1", 3),
        (&*format!("3@{digest}"), 3),
        (&*format!("3.1@{digest}"), 3),
        ("latest", 3),
        ("edge", 3),
        ("20251128", 3),
    ] {
        let setting = format!("registry.image.tag={tag}");
        let rendered = Rendered::from(&chart(), &["--set-string", &setting]);
        let ours = rendered.config("crossmount.yaml");
        assert_eq!(ours["upstream"]["version"], version, "{tag}");
    }
    let arguments = [
        "--set",
        "registry.image.tag=latest,crossmount.config.upstream.version=2",
    ];
    let ours = Rendered::from(&chart(), &arguments).config("crossmount.yaml");
    assert_eq!(ours["upstream"]["version"], 2);
}

#[test]
fn the_two_configurations_agree() {
    needs!("helm3", "helm4");
    for values in Values::every() {
        let rendered = values.render();
        check_offline(rendered.file("crossmount.yaml"));
        let (ours, theirs) = (
            rendered.config("crossmount.yaml"),
            rendered.config("config.yml"),
        );
        let address = theirs["http"]["addr"].as_str().unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        assert_eq!(ours["upstream"]["url"], format!("http://{address}"));
        let is_stored_elsewhere = values.name() == "object-store";
        if !is_stored_elsewhere {
            let headers = &ours["upstream"]["response_headers"];
            assert_eq!(headers, &theirs["http"]["headers"]);
        }
        let mode = match values.name() {
            "htpasswd" | "object-store" => "htpasswd",
            "tokens" => "token",
            "foreign-logins" => "upstream",
            _ => "none",
        };
        assert_eq!(ours["access"]["mode"], mode, "{}", values.name());
        assert_eq!(theirs["auth"].is_null(), mode == "none");
        if let Some(token) = ours["access"]["token"].as_object() {
            assert_eq!(ours["upstream"]["version"], 3);
            for (key, value) in token {
                assert_eq!(value, &theirs["auth"]["token"][key], "{key}");
            }
        }
        if !is_stored_elsewhere {
            let path = &ours["access"]["htpasswd"]["path"];
            assert_eq!(path, &theirs["auth"]["htpasswd"]["path"]);
        }
    }
    let native = Values::named("native").render().config("crossmount.yaml");
    let upstream = &native["upstream"];
    assert_eq!(upstream["external_url"], "https://registry.example.com");
    assert_eq!(upstream["prefix"], "/hub/");
    assert_eq!(upstream["relative_urls"], false, "the user's word wins");
    let open = with("registry.htpasswdSecret=a,crossmount.config.access.mode=upstream");
    check_offline(open.file("crossmount.yaml"));
    assert_eq!(
        open.config("crossmount.yaml")["access"],
        json!({"mode": "upstream"})
    );
}

#[test]
fn a_change_of_either_configuration_rolls_the_pod() {
    needs!("helm3", "helm4");
    let sum = |rendered: Rendered| {
        let annotations =
            &rendered.the("Deployment")["spec"]["template"]["metadata"]["annotations"];
        annotations["checksum/config"].as_str().unwrap().to_owned()
    };
    let before = sum(Values::DEFAULT.render());
    assert_ne!(before, sum(with("registry.config.log.level=debug")));
    assert_ne!(before, sum(with("crossmount.config.log.level=debug")));
    assert_eq!(before, sum(with("podMonitor.enabled=true")));
}

#[test]
fn a_real_registry_and_the_real_crossmount_run_by_these_configurations() {
    needs!("helm3", "helm4", "docker-registry");
    for values in [Values::DEFAULT, Values::named("native")] {
        let rendered = values.render();
        let registry = Registry::with(|config| {
            let (port, root) = (
                config["http"]["addr"].take(),
                config["storage"]["filesystem"].take(),
            );
            *config = rendered.config("config.yml");
            config["http"]["addr"] = port;
            config["storage"]["filesystem"]["rootdirectory"] = root["rootdirectory"].clone();
        });
        let sidecar =
            Sidecar::with_delivered_config(&registry, &rendered.config("crossmount.yaml"));
        wait_until("the pod would be ready", || {
            raw_http::get(sidecar.admin, "/readyz").status == 200
        });
        // What the kubelet and helm test ask.
        raw_http::get(sidecar.port, "/").expect(200);
        let test = &rendered.the("Pod")["spec"]["containers"][0]["env"][0]["value"];
        let address = test.as_str().unwrap().splitn(4, '/').nth(3).unwrap();
        raw_http::get(sidecar.port, &format!("/{address}")).expect(200);
    }
}

/// As a native sidecar sees it: the registry is told to end while an upload is on its way.
#[test]
fn a_registry_that_ends_finishes_what_is_in_flight() {
    needs!("helm3", "helm4", "docker-registry");
    let http = &Values::DEFAULT.render().config("config.yml")["http"];
    let registry = Registry::with(|config| {
        config["http"]["draintimeout"] = http["draintimeout"].clone();
    });
    let sidecar = Sidecar::start(&registry);
    let opened = sidecar.client().begin("late").expect(202);
    let mut upload = raw_http::Connection::to(sidecar.port).unwrap();
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        opened.location_path()
    );
    upload.write(head.as_bytes()).unwrap();
    upload.write_chunk(&vec![0; 100_000]).unwrap();
    wait_until("the registry takes it", || {
        let files = registry.store.files().into_iter();
        let mut uploads = files.filter(|file| file.ends_with("/data"));
        let size = |file| fs::metadata(registry.store.root.join(file)).unwrap().len();
        uploads.any(|file| size(file) > 0)
    });
    registry.end();
    wait_until("nobody else is taken", || {
        raw_http::Connection::to(registry.port).is_err()
    });
    upload.write_chunk(b"the rest").unwrap();
    upload.write_chunk(b"").unwrap();
    upload.answer("PATCH").unwrap().expect(202);
}

#[test]
fn the_registrys_probe_needs_no_login_and_fails_without_an_answer() {
    needs!("docker-registry", "htpasswd");
    let mut registry = Registry::with_htpasswd(&[("alice", "right")]);
    let sidecar = Sidecar::start(&registry);
    raw_http::get(sidecar.port, "/").expect(200);
    registry.kill();
    raw_http::get(sidecar.port, "/").expect(503);
}
