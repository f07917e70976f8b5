//! Real clients that push the same new layers at once, through two replicas.

use super::waiting;
use crate::{needs, support};
use serde_json::json;
use std::collections::HashMap;
use std::thread;
use support::client_programs::{Skopeo, at};
use support::image::Image;
use support::redis::RedisServer;
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;

const BASE: &[&str] = &["base 1", "base 2", "base 3", "base 4"];
const LAYER: usize = 1_500_000;

#[test]
fn eight_skopeos_over_two_replicas_upload_a_new_base_once() {
    needs!("docker-registry", "skopeo", "redis-server");
    let (redis, registry) = (RedisServer::start(), Registry::start());
    registry
        .client()
        .upload("first/app", b"the first layer of the store");
    let replicas = [(); 2].map(|()| {
        let sidecar = Sidecar::with(&registry, |config| {
            config["access"] = json!({"mode": "none"});
            waiting(&redis.url(), "10s")(config);
        });
        sidecar.verify_store();
        sidecar
    });
    let uploaded = || -> u64 {
        let all = replicas.iter();
        all.map(|it| whole(it.metric("crossmount_uploaded_bytes_total", &[])))
            .sum()
    };
    let before = uploaded();
    let own: Vec<_> = (0..8).map(|number| format!("own {number}")).collect();
    let images: Vec<_> = own
        .iter()
        .map(|own| Image::of(&[BASE, &[own.as_str()]].concat(), LAYER))
        .collect();
    let clients: Vec<_> = images
        .iter()
        .map(|image| {
            let skopeo = Skopeo::new();
            let layout = skopeo.layout(image, "layout");
            (skopeo, layout)
        })
        .collect();
    thread::scope(|scope| {
        for (number, (skopeo, layout)) in clients.iter().enumerate() {
            let port = replicas[number % 2].port;
            let to = at(port, &format!("team/app{number}:v1"));
            scope.spawn(move || skopeo.copy(layout, &to));
        }
    });
    let sent = uploaded() - before;
    let mut unique = HashMap::new();
    for blob in images.iter().flat_map(Image::blobs) {
        unique.insert(blob.digest.clone(), blob.bytes.len());
    }
    let unique = u64::try_from(unique.values().sum::<usize>()).unwrap();
    assert!(
        sent * 100 <= unique * 105,
        "{sent} bytes sent, {unique} are unique: {:?}",
        replicas.each_ref().map(|sidecar| {
            ["linked", "released", "timed_out", "abandoned"].map(|result| {
                let labels = [("result", result)];
                sidecar.metric("crossmount_held_requests_total", &labels)
            })
        })
    );
    for (number, image) in images.iter().enumerate() {
        image.pull(&registry.client(), &format!("team/app{number}"), "v1");
    }
}
