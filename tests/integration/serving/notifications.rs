//! Webhooks: what the registry tells of its own mounts is told of crossmount's.

use crate::{needs, support};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use support::discovery::discover_on_head;
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;
use support::version::version_shown_by;
use support::wait_until;
use support::webhook_endpoint::{Endpoint, ReceivedEvents};

fn endpoints(endpoint: &Endpoint) -> Value {
    json!([{
        "name": "audit", "url": endpoint.url(), "headers": {"Authorization": ["Bearer s3cret"]},
        "timeout": "500ms", "threshold": 3, "backoff": "100ms",
    }])
}

fn telling(registry: &Registry, endpoint: &Endpoint) -> Sidecar {
    let sidecar = Sidecar::with(registry, |config| {
        config["notifications"] = json!({"endpoints": endpoints(endpoint)});
        discover_on_head(config);
    });
    sidecar.verify_store();
    sidecar
}

fn counted(sidecar: &Sidecar, result: &str) -> u64 {
    let labels = [("endpoint", "audit"), ("result", result)];
    whole(sidecar.metric("crossmount_notifications_total", &labels))
}

/// Everything of an event that may not differ between two processes and two requests.
fn lasting(event: &Value, port: u16) -> Value {
    let mut event = event.clone();
    for place in [
        "/id",
        "/timestamp",
        "/request/id",
        "/source/addr",
        "/source/instanceID",
    ] {
        let varying = event.pointer_mut(place).unwrap();
        assert!(!varying.as_str().unwrap().is_empty(), "{place}");
        *varying = Value::Null;
    }
    // The registry sees a client's port where none stands in front.
    let client = event["request"]["addr"].as_str().unwrap();
    event["request"]["addr"] = client.split(':').next().unwrap().into();
    let text = event.to_string().replace(&port.to_string(), "PORT");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn an_event_is_the_one_that_the_registry_sends_for_its_own_mount() {
    needs!("docker-registry", "htpasswd");
    let (theirs, ours) = (Endpoint::start(|_| "200 OK"), Endpoint::start(|_| "200 OK"));
    let mut registry = Registry::prepared(|config| {
        config["notifications"] = json!({"endpoints": endpoints(&theirs)});
    });
    registry.demand_passwords(&[("alice", "right")]);
    registry.resume();
    let sidecar = Sidecar::with(&registry, |config| {
        config["access"] = json!({"mode": "upstream"});
        config["upstream"]["version"] = json!(version_shown_by(&registry));
        config["notifications"] = json!({"endpoints": endpoints(&ours)});
    });
    let through = sidecar.client().basic("alice", "right");
    sidecar.verify_store_as(&through);
    let direct = registry.client().basic("alice", "right");
    let digest = direct.upload("team/base", b"a layer");
    let agent = |client: &support::registry_client::Client| {
        client.clone().header("User-Agent", "a client/1.0")
    };
    agent(&direct)
        .mount("team/app", &digest, "team/base")
        .expect(201);
    std::fs::remove_file(registry.store.link("team/app", &digest)).unwrap();
    agent(&through)
        .mount("team/app", &digest, "team/base")
        .expect(201);
    let mount = |endpoint: &Endpoint| {
        let told = endpoint.told();
        told.into_iter().find_map(|told| {
            let event = told.events().remove(0);
            (event["action"] == "mount").then_some((told, event))
        })
    };
    assert_eq!(sidecar.mounted(), 1);
    wait_until("the registry has told", || mount(&theirs).is_some());
    wait_until("crossmount has told", || mount(&ours).is_some());
    let ((native_told, native), (told, own)) = (mount(&theirs).unwrap(), mount(&ours).unwrap());
    assert_eq!(lasting(&own, sidecar.port), lasting(&native, registry.port));
    assert!(native["timestamp"].as_str().unwrap().contains('T'));
    let head = told.head.to_ascii_lowercase();
    assert!(head.contains("authorization: bearer s3cret"), "{head}");
    let kind = |told: &ReceivedEvents| {
        let head = told.head.to_ascii_lowercase();
        let mut lines = head.lines().map(str::to_owned);
        lines.find(|line| line.starts_with("content-type: "))
    };
    assert_eq!(kind(&told), kind(&native_told));
    assert!(!sidecar.log().contains("s3cret"));
    // Of the mount through crossmount the registry said nothing.
    let mounts = |endpoint: &Endpoint| {
        let told = endpoint.told();
        told.iter()
            .filter(|told| told.events()[0]["action"] == "mount")
            .count()
    };
    assert_eq!((mounts(&theirs), mounts(&ours)), (1, 1));
}

#[test]
fn a_layer_mounted_for_a_head_and_one_already_linked_cause_events_too() {
    needs!("docker-registry");
    let registry = Registry::start();
    let endpoint = Endpoint::start(|_| "200 OK");
    let sidecar = telling(&registry, &endpoint);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    client.head_blob("app", &digest).expect(200);
    let talkative = client.clone().header("User-Agent", &"x".repeat(20_000));
    talkative.mount("app", &digest, "base").expect(201);
    // What the registry answers itself is its own to tell.
    client
        .mount("app", &support::digest_of(b"absent"), "base")
        .expect(202);
    wait_until("both were sent", || counted(&sidecar, "sent") == 2);
    let events: Vec<_> = endpoint
        .told()
        .iter()
        .flat_map(ReceivedEvents::events)
        .collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["request"]["method"], "HEAD");
    // Many may have to wait.
    assert_eq!(events[1]["request"]["useragent"], "x".repeat(256));
    for event in &events {
        assert_eq!(event["target"]["fromRepository"], "base");
        assert_eq!(event["target"]["repository"], "app");
        assert_eq!(event["target"]["size"], 7);
    }
}

/// Which of these endpoints are told of a mount, by name.
fn told_of_mounts(endpoints: &[(&str, Endpoint, Value)]) -> Vec<String> {
    let of_mount = |told: &ReceivedEvents| told.events()[0]["action"] == "mount";
    let told = endpoints
        .iter()
        .filter(|(_, endpoint, _)| endpoint.told().iter().any(of_mount));
    told.map(|(name, ..)| (*name).to_owned()).collect()
}

fn block(endpoints: &[(&str, Endpoint, Value)]) -> Value {
    let each = endpoints.iter().map(|(name, endpoint, more)| {
        let mut settings = json!({"name": name, "url": endpoint.url(), "threshold": 0});
        let more = more.as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(more);
        settings
    });
    each.collect()
}

#[test]
fn a_disabled_or_ignoring_endpoint_gets_as_few_events_as_from_the_registry() {
    needs!("docker-registry");
    let all = || {
        [
            ("plain", json!({})),
            ("disabled", json!({"disabled": true})),
            ("not disabled", json!({"disabled": false})),
            ("no mounts", json!({"ignore": {"actions": ["mount"]}})),
            (
                "no mounts and no text",
                json!({"ignore": {"actions": ["mount"], "mediatypes": ["text/plain"]}}),
            ),
            ("not pulls", json!({"ignore": {"actions": ["pull", "Mount"]}})),
            (
                "no blobs",
                json!({"ignore": {"mediatypes": ["application/octet-stream"]}}),
            ),
            (
                "no blobs in the old form",
                json!({"ignoredmediatypes": ["application/octet-stream"]}),
            ),
            (
                "no manifests",
                json!({"ignoredmediatypes": ["text/plain"], "ignore": {"mediatypes": ["a/b"], "actions": []}}),
            ),
            ("last", json!({})),
        ]
        .map(|(name, more)| (name, Endpoint::start(|_| "200 OK"), more))
    };
    let (theirs, ours) = (all(), all());
    let registry = Registry::with(|config| {
        config["notifications"] = json!({"endpoints": block(&theirs)});
    });
    let version = version_shown_by(&registry);
    let sidecar = Sidecar::with(&registry, |config| {
        config["upstream"]["version"] = json!(version);
        config["notifications"] = json!({"endpoints": block(&ours)});
    });
    sidecar.verify_store();
    let digest = registry.client().upload("base", b"a layer");
    registry.client().mount("one", &digest, "base").expect(201);
    sidecar.client().mount("two", &digest, "base").expect(201);
    assert_eq!(sidecar.mounted(), 1);
    // 2.8 looks at the actions only if a media type is ignored too.
    let of_version_2 = Some("no mounts").filter(|_| version == 2);
    let expected = ["plain", "not disabled"].into_iter().chain(of_version_2);
    let expected = expected.chain(["not pulls", "no manifests", "last"]);
    let expected: Vec<_> = expected.collect();
    for endpoints in [&theirs, &ours] {
        wait_until("all that want it are told", || {
            told_of_mounts(endpoints).len() >= expected.len()
        });
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(told_of_mounts(&theirs), expected);
    assert_eq!(told_of_mounts(&ours), expected);
}

#[test]
fn the_media_type_of_events_is_that_of_the_registrys_version() {
    needs!("docker-registry");
    for (version, word) in [(2, "events.v1+json"), (3, "events.v2+json")] {
        let registry = Registry::start();
        let endpoint = Endpoint::start(|_| "200 OK");
        let sidecar = Sidecar::with(&registry, |config| {
            config["upstream"]["version"] = version.into();
            config["notifications"] = json!({"endpoints": endpoints(&endpoint)});
        });
        sidecar.verify_store();
        let client = sidecar.client();
        let digest = client.upload("base", b"a layer");
        client.mount("app", &digest, "base").expect(201);
        wait_until("it is told", || !endpoint.told().is_empty());
        let head = endpoint.told()[0].head.to_ascii_lowercase();
        let kind = format!("content-type: application/vnd.docker.distribution.{word}\r\n");
        assert!(head.contains(&kind), "{head}");
    }
}

#[test]
fn an_event_is_sent_until_it_is_taken_and_in_order() {
    needs!("docker-registry");
    let registry = Registry::start();
    let endpoint = Endpoint::start(|before| match before {
        0 => "500 Internal Server Error",
        1 => "308 Permanent Redirect",
        2 | 3 => "503 Service Unavailable",
        _ => "202 Accepted",
    });
    let sidecar = telling(&registry, &endpoint);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    for target in ["one", "two"] {
        client.mount(target, &digest, "base").expect(201);
    }
    wait_until("both were sent", || counted(&sidecar, "sent") == 2);
    assert_eq!(counted(&sidecar, "failed"), 4);
    let told = endpoint.told();
    let targets: Vec<_> = told
        .iter()
        .map(|told| told.events()[0]["target"]["repository"].clone())
        .collect();
    assert_eq!(targets, ["one", "one", "one", "one", "one", "two"]);
    let bodies: Vec<_> = told[..5].iter().map(|told| &told.body).collect();
    assert!(
        bodies.windows(2).all(|two| two[0] == two[1]),
        "the same event each time"
    );
    for said in ["webhook delivery failed", "webhook delivery recovered"] {
        sidecar.wait_for_log(said);
    }
}

#[test]
fn an_endpoint_that_hangs_delays_no_mount_and_what_waits_is_sent_before_the_end() {
    needs!("docker-registry");
    let registry = Registry::start();
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let endpoint = Endpoint::start(move |_| {
        // Beyond its timeout, and each time again, until it is told.
        let _ = told.lock().unwrap().recv();
        "200 OK"
    });
    let mut sidecar = telling(&registry, &endpoint);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    client.mount("first", &digest, "base").expect(201);
    wait_until("the endpoint hangs", || !endpoint.told().is_empty());
    let begun = Instant::now();
    for number in 0..20 {
        client
            .mount(&format!("target/{number}"), &digest, "base")
            .expect(201);
    }
    // The endpoint would take half a second for each.
    assert!(begun.elapsed() < Duration::from_secs(5));
    let waiting = [("endpoint", "audit")];
    assert!(sidecar.metric("crossmount_notifications_queue_length", &waiting) > 0.0);
    sidecar.signal(rustix::process::Signal::TERM);
    drop(go_on);
    assert!(sidecar.wait_for_exit().success());
    let targets: std::collections::BTreeSet<_> = endpoint
        .told()
        .iter()
        .map(|told| told.events()[0]["target"]["repository"].to_string())
        .collect();
    assert_eq!(targets.len(), 21);
}
