//! A new pod starts while clients ask already.

use crate::needs;
use crate::support::image::{Image, MANIFEST_TYPE};
use crate::support::raw_http::Request;
use crate::support::registry::Registry;
use crate::support::sidecar::{Sidecar, config};
use crate::support::{free_port, wait_until};
use serde_json::json;
use std::collections::BTreeSet;
use std::thread;

/// Asks for a manifest until it is there. Returns the statuses of all responses.
fn statuses_until_200(port: u16) -> BTreeSet<u16> {
    let request = Request::new("GET", "/v2/app/manifests/v1").header("Accept", MANIFEST_TYPE);
    let mut statuses = BTreeSet::new();
    wait_until("the pod answers", || {
        // Nobody listens yet, or no longer.
        if let Ok(answer) = request.try_send(port) {
            statuses.insert(answer.status);
        }
        statuses.contains(&200)
    });
    statuses
}

/// A client takes a 404 for a missing image.
#[test]
fn a_client_that_asks_while_a_pod_starts_gets_no_404() {
    needs!("docker-registry");
    let mut registry = Registry::start();
    Image::of(&["one"], 2000).push(&registry.client(), "app", "v1");
    let mut config = config(&registry.url(), &registry.store.root);
    let port = free_port();
    config["listen"]["address"] = json!(format!("127.0.0.1:{port}"));
    for is_native in [true, false].repeat(3) {
        registry.kill();
        thread::scope(|scope| {
            let clients = [(); 4].map(|()| scope.spawn(|| statuses_until_200(port)));
            // The sidecar comes first; of two plain containers either may.
            let sidecar = if is_native {
                let sidecar = Sidecar::from(&config);
                registry.resume();
                sidecar
            } else {
                registry.resume();
                Sidecar::from(&config)
            };
            for client in clients {
                let statuses = client.join().unwrap();
                assert!(
                    statuses.is_subset(&BTreeSet::from([200, 502, 503])),
                    "{statuses:?}"
                );
            }
            drop(sidecar);
        });
    }
}
