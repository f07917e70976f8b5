//! Clients of both families on one port, as `:5000` gives it.

use crate::{needs, support};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use support::misbehaving_upstream::MisbehavingUpstream;
use support::program_run::Home;
use support::raw_http::{Answer, Connection, Request};
use support::registry::Registry;
use support::registry_client::mount_target;
use support::sidecar::{Sidecar, config};
use support::wait_until;
use support::webhook_endpoint::Endpoint;

const FOUR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SIX: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn trusting(config: &mut Value, trusted: &str) {
    config["listen"]["address"] = json!(":0");
    config["upstream"]["trusted_proxies"] = json!([trusted]);
}

/// A request from this address, by which a proxy says that its client spoke TLS.
fn ask(sidecar: &Sidecar, from: IpAddr, method: &str, path: &str) -> Answer {
    let connection = Connection::over(from, sidecar.port).unwrap();
    let request = Request::new(method, path)
        .header("Host", "registry.test")
        .header("X-Forwarded-For", "192.0.2.1")
        .header("X-Forwarded-Proto", "https");
    request.try_over(connection, sidecar.port).unwrap()
}

#[test]
fn a_proxy_is_believed_by_its_ipv4_address() {
    needs!("docker-registry");
    for (trusted, believed, unbelieved) in [
        ("127.0.0.0/8", FOUR, SIX),
        ("::ffff:127.0.0.0/104", FOUR, SIX),
        ("::1", SIX, FOUR),
        ("::/0", SIX, FOUR),
    ] {
        let registry = Registry::start();
        let sidecar = Sidecar::with(&registry, |config| trusting(config, trusted));
        sidecar.verify_store();
        let digest = registry.client().upload("a", b"layer");
        for (from, scheme) in [(believed, "https"), (unbelieved, "http")] {
            let path = mount_target("b", &digest, "a");
            for path in ["/v2/b/blobs/uploads/", &path] {
                let answer = ask(&sidecar, from, "POST", path);
                let location = answer.header("Location").unwrap();
                let wanted = format!("{scheme}://registry.test/v2/b/blobs/");
                assert!(location.starts_with(&wanted), "{trusted} {from} {location}");
            }
        }
        assert_eq!(sidecar.mounts("mounted", "none"), 1);
        assert_eq!(sidecar.mounts("already_linked", "none"), 1);
    }
}

#[test]
fn the_registry_hears_of_ipv4_clients_by_their_ipv4_address() {
    let upstream = MisbehavingUpstream::always_answering("heard");
    let home = Home::new();
    let mut config = config(&upstream.url(), &home.root());
    trusting(&mut config, "127.0.0.0/8");
    let sidecar = Sidecar::from(&config);
    for from in [FOUR, SIX] {
        assert_eq!(ask(&sidecar, from, "GET", "/v2/").status, 200);
    }
    let heard = upstream.heard();
    let said: Vec<_> = heard
        .iter()
        .map(|heard| heard.header("X-Forwarded-For").unwrap())
        .collect();
    assert_eq!(said, ["192.0.2.1, 127.0.0.1", "::1"]);
    assert!(!sidecar.log().contains("::ffff:"), "{}", sidecar.log());
}

#[test]
fn events_name_ipv4_clients_by_their_ipv4_address() {
    needs!("docker-registry");
    let registry = Registry::start();
    let endpoint = Endpoint::start(|_| "200 OK");
    let sidecar = Sidecar::with(&registry, |config| {
        trusting(config, "192.0.2.0/24");
        let endpoint = json!({"name": "audit", "url": endpoint.url()});
        config["notifications"] = json!({"endpoints": [endpoint]});
    });
    sidecar.verify_store();
    let digest = registry.client().upload("a", b"layer");
    for (target, from) in [("four", FOUR), ("six", SIX)] {
        let path = mount_target(target, &digest, "a");
        assert_eq!(ask(&sidecar, from, "POST", &path).status, 201);
    }
    wait_until("both are told of", || endpoint.told().len() == 2);
    let mut clients: Vec<_> = endpoint
        .told()
        .iter()
        .map(|told| {
            let event = told.events().remove(0);
            event["request"]["addr"].as_str().unwrap().to_owned()
        })
        .collect();
    clients.sort();
    assert_eq!(clients, ["127.0.0.1", "::1"]);
}
