//! A registry that takes long to mount a layer for a HEAD.

use crate::discovery::wait_for_uploads::{LAYER, Leader, waiting};
use crate::{needs, support};
use serde_json::{Value, json};
use std::time::Duration;
use support::counting_proxy::{Call, CountingProxy, Fate, Kind};
use support::raw_http::Connection;
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;
use support::{digest_of, wait_until};

/// So many HEADs are mounted at once; others wait for their turn.
const TURNS: u64 = 16;

/// In front of the registry is a proxy whose mounts the test delays.
struct Case {
    proxy: CountingProxy,
    sidecar: Sidecar,
    _registry: Registry,
}

impl Case {
    fn with(bound: &str, mount: &Value) -> Self {
        let registry = Registry::start();
        let proxy = CountingProxy::start(registry.port);
        let url = format!("http://127.0.0.1:{}", proxy.port);
        let sidecar = Sidecar::generic(&url, |config| {
            config["upstream"] = json!({"url": url});
            config["mount"] = mount.clone();
            config["access"] = json!({"mode": "none"});
            waiting(config, bound);
        });
        Self {
            proxy,
            sidecar,
            _registry: registry,
        }
    }

    fn delay_mounts(&self, fate: Fate) {
        self.proxy
            .decide(move |call| if is_mount(call) { fate } else { Fate::Pass });
    }

    fn mounts_begun(&self) -> usize {
        self.proxy.calls().iter().filter(|it| is_mount(it)).count()
    }

    fn asks(&self, repository: &str, digest: &str, agent: &str) -> Connection {
        let client = self.sidecar.client().header("User-Agent", agent);
        let path = format!("/v2/{repository}/blobs/{digest}");
        let mut connection = client.connect();
        let head = client.request("HEAD", &path).bytes(client.port);
        connection.write(&head).unwrap();
        connection
    }

    fn wait_until_held(&self, number: u64) {
        let name = "crossmount_held_requests";
        wait_until("so many are held", || {
            whole(self.sidecar.metric_meanwhile(name, &[])) == number
        });
    }
}

fn is_mount(call: &Call) -> bool {
    call.kind == Kind::Post && call.target.contains("mount=")
}

#[test]
fn the_mount_for_a_head_may_take_as_long_as_the_head_may_wait() {
    needs!("docker-registry");
    for (bound, status) in [("0s", 404), ("30s", 200)] {
        let mount = json!({"writer": "registry", "time_budget": "2s"});
        let case = Case::with(bound, &mount);
        let client = case.sidecar.client();
        let digest = client.upload("base", LAYER);
        case.delay_mounts(Fate::Delay(Duration::from_secs(4)));
        let answer = client.head_blob("app", &digest);
        assert_eq!(answer.status, status, "{bound}");
        assert!(case.mounts_begun() > 0);
    }
}

/// The turns are taken by mounts that hang, of clients that wait longer than jib does.
#[test]
fn a_head_whose_turn_does_not_come_gets_the_404_when_its_time_is_over() {
    needs!("docker-registry");
    let mount = json!({"writer": "registry", "time_budget": "50s"});
    let case = Case::with("50s", &mount);
    let leader = Leader::begins(case.sidecar.client(), "leader/app", LAYER);
    let _hanging: Vec<_> = (0..TURNS)
        .map(|number| case.asks(&format!("h{number}/app"), &digest_of(LAYER), "skopeo/1.9"))
        .collect();
    case.wait_until_held(TURNS);
    case.delay_mounts(Fate::Hang);
    leader.ends();
    wait_until("all turns are taken", || {
        case.mounts_begun() == usize::try_from(TURNS).unwrap()
    });
    let second = b"a second layer";
    let leader = Leader::begins(case.sidecar.client(), "leader/app", second);
    let mut late = case.asks("late/app", &digest_of(second), "jib/3.4.0");
    case.wait_until_held(TURNS + 1);
    leader.ends();
    assert_eq!(late.answer("HEAD").unwrap().status, 404);
    case.wait_until_held(TURNS);
    let name = "crossmount_held_requests_total";
    let timed_out = case
        .sidecar
        .metric_meanwhile(name, &[("result", "timed_out")]);
    assert_eq!(whole(timed_out), 1);
}
