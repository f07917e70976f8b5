//! An `upstream.version` that is not the registry's.

use crate::{needs, support};
use serde_json::json;
use std::fs;
use std::time::Duration;
use support::misbehaving_upstream::{MisbehavingUpstream, Reply};
use support::program_run::{Home, check};
use support::registry::Registry;
use support::sidecar::{BINARY, Sidecar, command, config};
use support::token_issuer::TokenIssuer;
use support::version::version_shown_by;
use support::wait_until;

const SETTING: &str = "set upstream.version to ";

#[test]
fn a_check_names_the_setting_if_the_registry_is_of_another_version() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    for registry in [Registry::start(), tokens.registry()] {
        let real = version_shown_by(&registry);
        for version in [2, 3] {
            let ended = check(&registry, |config| {
                if !registry.config["auth"].is_null() {
                    tokens.verify_here(config);
                }
                config["upstream"]["version"] = json!(version);
            });
            assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
            let line = format!(
                "warning: the registry answers as distribution {real}, but upstream.version is \
                 {version}: {SETTING}{real}\n"
            );
            assert_eq!(ended.out.contains(&line), version != real, "{}", ended.out);
            assert_eq!(ended.out.contains(SETTING), version != real);
        }
    }
}

#[test]
fn the_start_names_the_setting_if_decisions_depend_on_it() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let mut registry = tokens.registry();
    let real = version_shown_by(&registry);
    // The registry may come later than crossmount.
    registry.kill();
    fs::create_dir_all(&registry.store.root).unwrap();
    let sidecars = [2, 3].map(|version| {
        let sidecar = Sidecar::with(&registry, |config| {
            tokens.verify_here(config);
            config["upstream"]["version"] = json!(version);
        });
        (version, sidecar)
    });
    registry.resume();
    let wrong = sidecars.iter().find(|(version, _)| *version != real);
    wait_until("the wrong one says so", || {
        wrong.unwrap().1.log().contains(SETTING)
    });
    // The other one has asked by then too: both ask once a second.
    std::thread::sleep(Duration::from_millis(1500));
    for (version, sidecar) in &sidecars {
        let log = sidecar.log();
        let said = log.lines().filter(|line| line.contains(SETTING)).count();
        assert_eq!(said, usize::from(*version != real), "{version}: {log}");
        assert!(
            said == 0 || log.contains(r#""level":"WARN","message":"upstream version mismatch"#)
        );
    }
}

#[test]
fn each_version_is_known_by_its_answer_and_other_answers_show_none() {
    for (headers, shown) in [
        ("Content-Type: application/json; charset=utf-8", Some(2)),
        ("Content-Type: application/json", Some(3)),
        ("Content-Type: application/json;charset=utf-8", None),
        ("X-Nothing: at all", None),
    ] {
        for (status, version) in ["200 OK", "401 Unauthorized"]
            .into_iter()
            .flat_map(|status| [(status, 2), (status, 3)])
        {
            let upstream = MisbehavingUpstream::start(move |_| {
                let answer = format!(
                    "HTTP/1.1 {status}\r\n{headers}\r\n\
                     Docker-Distribution-Api-Version: registry/2.0\r\nContent-Length: 2\r\n\r\n{{}}"
                );
                Reply::Answer(answer.into_bytes())
            });
            let home = Home::new();
            let mut config = config(&upstream.url(), &home.root());
            config["upstream"]["version"] = json!(version);
            config["notifications"] =
                json!({"endpoints": [{"name": "a", "url": "http://127.0.0.1:1/"}]});
            let sidecar = Sidecar::launch(command(BINARY), &config);
            wait_until("the registry was asked", || !upstream.all().is_empty());
            let is_wrong = shown.is_some_and(|shown| shown != version);
            if is_wrong {
                sidecar.wait_for_log(SETTING);
            } else {
                std::thread::sleep(Duration::from_millis(100));
            }
            let log = sidecar.log();
            assert_eq!(log.contains(SETTING), is_wrong, "{headers} {status}: {log}");
        }
    }
}
