//! Clients that push images on the same new base at once.

use super::client_programs::{Skopeo, at};
use super::image::{Image, unique_bytes};
use super::registry::Registry;
use super::sidecar::Sidecar;
use super::sidecar_metrics::whole;
use std::thread;

const BASE: &[&str] = &["base 1", "base 2", "base 3", "base 4"];
const LAYER: usize = 1_500_000;

/// Eight skopeos push through these replicas, each through the next one. The registry gets at most
/// a twentieth more than the unique bytes, and holds every image whole.
#[track_caller]
pub fn eight_skopeos_upload_a_new_base_once(registry: &Registry, replicas: &[Sidecar]) {
    let own: Vec<_> = (0..8).map(|number| format!("own {number}")).collect();
    let images: Vec<_> = own
        .iter()
        .map(|own| Image::of(&[BASE, &[own.as_str()]].concat(), LAYER))
        .collect();
    let before = uploaded(replicas);
    push(&images, replicas);
    let (sent, unique) = (uploaded(replicas) - before, unique_bytes(&images));
    let ends: Vec<_> = replicas.iter().map(ends_of_waiting).collect();
    assert!(
        sent * 100 <= unique * 105,
        "{sent} bytes sent, {unique} are unique: {ends:?}"
    );
    for (number, image) in images.iter().enumerate() {
        image.pull(&registry.client(), &repository(number), "v1");
    }
}

fn repository(number: usize) -> String {
    format!("team/app{number}")
}

fn push(images: &[Image], replicas: &[Sidecar]) {
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
            let port = replicas[number % replicas.len()].port;
            let to = at(port, &format!("{}:v1", repository(number)));
            scope.spawn(move || skopeo.copy(layout, &to));
        }
    });
}

fn uploaded(replicas: &[Sidecar]) -> u64 {
    let each = replicas
        .iter()
        .map(|sidecar| whole(sidecar.metric("crossmount_uploaded_bytes_total", &[])));
    each.sum()
}

fn ends_of_waiting(sidecar: &Sidecar) -> [(&'static str, f64); 4] {
    ["linked", "released", "timed_out", "abandoned"].map(|result| {
        let labels = [("result", result)];
        let count = sidecar.metric("crossmount_held_requests_total", &labels);
        (result, count)
    })
}
