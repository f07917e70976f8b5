//! A HEAD that leads to a mount: what it costs, and that a layer without data is never mounted.

use super::{listed_by, sidecar_of};
use crate::needs;
use crate::support::counting_proxy::{CountingProxy, Kind};
use crate::support::raw_http::Answer;
use crate::support::registry::Registry;
use crate::support::seaweedfs::{self, Bucket, LISTER, REGISTRY, SeaweedFs};
use crate::support::sidecar::Sidecar;
use crate::support::wait_until;
use serde_json::{Value, json};

/// A registry with a warm cache on a bucket, behind a proxy that counts its calls.
struct Case {
    bucket: Bucket,
    registry: Registry,
    calls: CountingProxy,
}

/// With redirects the registry answers a HEAD with one, too.
#[track_caller]
fn is_shown(answer: &Answer) {
    assert!([200, 307].contains(&answer.status), "{answer:?}");
}

impl Case {
    fn start(server: &'static SeaweedFs, redirects: bool) -> Self {
        let bucket = server.bucket();
        let calls = CountingProxy::start(server.port);
        let registry = bucket.registry(calls.port, |config| {
            config["storage"]["cache"] = json!({"blobdescriptor": "inmemory"});
            config["storage"]["redirect"] = json!({"disable": !redirects});
        });
        Self {
            bucket,
            registry,
            calls,
        }
    }

    /// A sidecar that lists the bucket, or reads bytes through the registry.
    fn sidecar(&self, lists: bool) -> Sidecar {
        if lists {
            listed_by(&self.registry, &self.bucket, &self.calls, "none")
        } else {
            sidecar_of(&self.registry, "none", |_| ())
        }
    }
}

#[test]
fn a_layer_whose_data_is_gone_is_not_mounted_though_the_cache_knows_it() {
    needs!("docker-registry", "weed");
    let Some(server) = seaweedfs::start() else {
        return;
    };
    for redirects in [false, true] {
        for lists in [false, true] {
            let case = Case::start(server, redirects);
            let sidecar = case.sidecar(lists);
            let client = sidecar.client();
            let digest = client.upload("base", b"a layer");
            is_shown(&client.head_blob("base", &digest));
            case.bucket.remove(&seaweedfs::data("", &digest));
            // The registry itself would mount it.
            let direct = case.registry.client();
            is_shown(&direct.head_blob("base", &digest));
            client.head_blob("app", &digest).expect(404);
            let context = format!("redirects: {redirects}, lists: {lists}");
            assert_eq!(sidecar.mounts("native", "none"), 0, "{context}");
            // The client uploads it, and from then on it can be mounted again.
            client.upload("app", b"a layer");
            is_shown(&client.head_blob("other", &digest));
            assert_eq!(sidecar.mounts("native", "none"), 1, "{context}");
        }
    }
}

#[test]
fn a_head_that_leads_to_a_mount_costs_three_or_four_calls_more_than_a_404() {
    needs!("docker-registry", "weed");
    let Some(server) = seaweedfs::start() else {
        return;
    };
    for lists in [false, true] {
        let case = Case::start(server, true);
        let sidecar = case.sidecar(lists);
        let client = sidecar.client();
        let digest = client.upload("base", b"a layer");
        // The cache knows the layer, and the target exists.
        is_shown(&client.head_blob("base", &digest));
        client.upload("app", b"another layer");
        if lists {
            sidecar.wait_for_scan();
        }
        case.calls.forget();
        is_shown(&client.head_blob("app", &digest));
        let calls: Vec<_> = case.calls.calls().iter().map(|it| it.kind).collect();
        // The registry reads the target's link before and after, and writes it. crossmount reads a
        // byte, or lists the source's link and the data.
        let looked_up: &[Kind] = if lists {
            &[Kind::List, Kind::List]
        } else {
            &[Kind::Get]
        };
        let expected = [&[Kind::Get], looked_up, &[Kind::Put, Kind::Get]].concat();
        assert_eq!(calls, expected, "lists: {lists}");
    }
}

#[test]
fn a_caller_without_permission_causes_no_list_and_no_read() {
    needs!("docker-registry", "openssl", "weed");
    let Some(server) = seaweedfs::start() else {
        return;
    };
    let tokens = crate::support::token_issuer::TokenIssuer::new();
    let bucket = server.bucket();
    let registry = bucket.registry(server.port, |config: &mut Value| tokens.configure(config));
    let lists = CountingProxy::start(server.port);
    lists.pass_only_lists();
    let sidecar = listed_by(&registry, &bucket, &lists, "token");
    sidecar.wait_for_scan();
    let all: &[&str] = &["pull", "push"];
    let owner = tokens.token("owner", &[("base", all)]);
    let digest = sidecar.client().bearer(&owner).upload("base", b"a layer");
    lists.forget();
    let narrow = tokens.token("ci", &[("app", all)]);
    let narrow = sidecar.client().bearer(&narrow);
    let before = sidecar.subrequests();
    narrow.head_blob("app", &digest).expect(404);
    narrow
        .head_blob("app", &crate::support::digest_of(b"nothing"))
        .expect(404);
    assert_eq!(sidecar.subrequests(), before);
    assert_eq!(lists.calls().len(), 0);
    let wide = tokens.token("ci", &[("app", all), ("base", &["pull"])]);
    let wide = sidecar.client().bearer(&wide);
    wide.head_blob("app", &digest).expect(200);
    assert_eq!(lists.count(Kind::List), 2);
}

#[test]
fn crossmounts_calls_carry_its_own_key_and_nothing_of_the_registrys() {
    needs!("docker-registry", "weed");
    let Some(server) = seaweedfs::start() else {
        return;
    };
    let case = Case::start(server, false);
    let sidecar = case.sidecar(true);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    client.head_blob("app", &digest).expect(200);
    wait_until("crossmount has listed", || {
        case.calls
            .calls()
            .iter()
            .any(|call| call.access_key == LISTER.access_key)
    });
    for call in case.calls.calls() {
        let is_own = call.access_key == LISTER.access_key;
        assert!(!is_own || call.kind == Kind::List, "{call:?}");
        assert!(is_own || call.access_key == REGISTRY.access_key, "{call:?}");
    }
}
