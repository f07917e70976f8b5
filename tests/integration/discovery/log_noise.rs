//! What real pushes leave in the log.

use crate::{needs, support};
use std::thread;
use support::client_programs::{Skopeo, at};
use support::image::Image;
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::tools;

const PUSHES: usize = 12;
const AT_ONCE: usize = 4;

#[test]
fn pushes_at_once_leave_no_warning() {
    needs!("docker-registry", "skopeo");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let shared: Vec<_> = (0..8).map(|layer| format!("shared {layer}")).collect();
    let skopeo = Skopeo::new();
    let layouts: Vec<_> = (0..PUSHES)
        .map(|number| {
            let own = format!("own {number}");
            let seeds: Vec<_> = shared.iter().chain([&own]).map(String::as_str).collect();
            skopeo.layout(&Image::of(&seeds, 20_000), &format!("layout{number}"))
        })
        .collect();
    thread::scope(|scope| {
        for lane in 0..AT_ONCE {
            let (sidecar, layouts, skopeo) = (&sidecar, &layouts, &skopeo);
            scope.spawn(move || {
                for number in (lane..PUSHES).step_by(AT_ONCE) {
                    let mut command = skopeo.command();
                    command.args(["copy", "--dest-tls-verify=false"]);
                    let target = at(sidecar.port, &format!("app/{number}:v1"));
                    tools::run(command.args([&layouts[number], &target]));
                }
            });
        }
    });
    assert!(sidecar.mounted() > 0, "nothing was mounted");
    let mut loud = sidecar.log_lines();
    loud.retain(|line| line["level"] == "WARN" || line["level"] == "ERROR");
    assert!(loud.is_empty(), "{} lines: {loud:#?}", loud.len());
}
