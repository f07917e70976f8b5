//! A HEAD waits until Pulp mounts a layer: until the first manifest that names it.

use crate::discovery::wait_for_uploads::Leader;
use crate::support;
use serde_json::{Value, json};
use std::thread;
use std::time::Instant;
use support::image::Image;
use support::pulp::{self, ADMIN, Pulp, fresh};
use support::registry_client::Client;
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;
use support::{digest_of, wait_until};

/// Runners of one login, which push images with a layer of their own and a new one that all have.
struct Case {
    pulp: &'static Pulp,
    sidecar: Sidecar,
    user: String,
    layer: String,
}

fn case(change: impl FnOnce(&mut Value)) -> Option<Case> {
    let pulp = pulp::start()?;
    let sidecar = pulp.sidecar(|config| {
        config["discovery"] = json!({
            "enabled": true, "on_head": true, "sources": "any", "widen_scopes": true,
            "wait_for_uploads": "30s",
        });
        config["mount"] = json!({"time_budget": "30s"});
        change(config);
    });
    Some(Case {
        pulp,
        sidecar,
        user: pulp.user(),
        layer: fresh("layer"),
    })
}

fn with_artifacts(config: &mut Value) {
    let media = &pulp::start().unwrap().media;
    config["store"] = json!({"artifacts": {"rootdirectory": media, "deadline": "30s"}});
}

/// A runner that pushes an image to a repository of its own.
struct Runner {
    client: Client,
    repository: String,
    image: Image,
}

impl Runner {
    fn layer(&self) -> &support::image::Blob {
        &self.image.layers[0]
    }

    fn head(&self) -> u16 {
        let answer = self
            .client
            .head_blob(&self.repository, &self.layer().digest);
        answer.status
    }

    /// Sends a request, by which a push shows that it goes on.
    fn goes_on(&self) {
        let absent = digest_of(fresh("absent").as_bytes());
        self.client.head_blob(&self.repository, &absent).expect(404);
    }

    fn upload_layer(&self) {
        let leader = Leader::begins(self.client.clone(), &self.repository, &self.layer().bytes);
        leader.ends();
    }

    /// The rest of the push, whose first layer is there.
    fn finish(&self) {
        for blob in self.image.blobs().skip(1) {
            self.client.upload(&self.repository, &blob.bytes);
        }
        self.put_manifest(&self.image.manifest.bytes, 201);
    }

    fn put_manifest(&self, manifest: &[u8], status: u16) {
        let put = self.client.put_manifest(&self.repository, "v1", manifest);
        put.expect(status);
    }

    fn push(&self) -> u16 {
        let status = self.head();
        if status == 404 {
            self.upload_layer_only();
        }
        self.finish();
        status
    }

    fn upload_layer_only(&self) {
        self.client.upload(&self.repository, &self.layer().bytes);
    }
}

impl Case {
    /// The token is asked for through crossmount, which widens it by the pushes before.
    fn runner(&self, name: &str) -> Runner {
        let repository = format!("{}/{name}", self.user);
        let scope = format!("repository:{repository}:pull,push");
        let path = Pulp::token_target(self.sidecar.port, &[&scope]);
        let login = self.sidecar.client().basic(&self.user, &self.user);
        let token: Value = serde_json::from_slice(&login.get(&path).expect(200).body).unwrap();
        let token = token["token"].as_str().unwrap();
        Runner {
            client: self.sidecar.client().bearer(token),
            image: Image::of(&[&self.layer, &fresh(name)], 2000),
            repository,
        }
    }

    fn held(&self) -> u64 {
        let name = "crossmount_held_requests";
        whole(self.sidecar.metric_meanwhile(name, &[]))
    }

    fn ended(&self, result: &str) -> u64 {
        let name = "crossmount_held_requests_total";
        whole(self.sidecar.metric_meanwhile(name, &[("result", result)]))
    }

    fn uploads_into(&self, runner: &Runner) -> usize {
        let text = format!("\"PUT /v2/{}/blobs/", runner.repository);
        self.pulp.answered(&text).len()
    }

    /// One runner is held by the push of the first until `end` is done; gives its status.
    fn holds(&self, runner: &Runner, first: &Runner, end: impl FnOnce()) -> u16 {
        thread::scope(|scope| {
            let held = scope.spawn(|| runner.head());
            wait_until("it is held", || {
                first.goes_on();
                self.held() == 1
            });
            end();
            held.join().unwrap()
        })
    }
}

#[test]
fn a_layer_is_mounted_after_the_manifest_of_the_first_push() {
    let Some(case) = case(|_| ()) else { return };
    let (first, second) = (case.runner("first"), case.runner("second"));
    first.upload_layer();
    let status = case.holds(&second, &first, || {
        // A manifest without the layer changes nothing.
        let other = Image::of(&[&fresh("other")], 2000);
        other.push(&first.client, &first.repository, "other");
        assert_eq!(case.held(), 1);
        first.finish();
    });
    assert_eq!((status, case.ended("linked")), (302, 1));
    assert_eq!(case.uploads_into(&second), 0);
    second.finish();
    let bytes = case
        .pulp
        .pull(&second.client, &second.repository, &second.layer().digest);
    assert_eq!(bytes, second.layer().bytes);
    let length = second.layer().bytes.len() as u64;
    let mounted = [("via", "wait")];
    let mounted = case
        .sidecar
        .metric("crossmount_mounted_bytes_total", &mounted);
    assert_eq!(whole(mounted), length);
}

#[test]
fn one_goes_on_when_the_first_manifest_is_refused_or_never_comes() {
    let Some(case) = case(|_| ()) else { return };
    let first = case.runner("first");
    let (second, third) = (case.runner("second"), case.runner("third"));
    first.upload_layer();
    let status = case.holds(&second, &first, || first.put_manifest(b"{}", 400));
    assert_eq!((status, case.ended("released")), (404, 1));
    second.upload_layer();
    let mut stopped = Instant::now();
    let status = case.holds(&third, &second, || stopped = Instant::now());
    assert_eq!((status, case.ended("released")), (404, 2));
    let after = stopped.elapsed().as_secs();
    assert!((4..20).contains(&after), "{after} s");
}

#[test]
fn a_caller_who_may_not_pull_there_is_not_held() {
    let Some(case) = case(|_| ()) else { return };
    let first = case.runner("first");
    // An admin may pull there, but this token does not name the repository.
    let others = [case.pulp.user(), ADMIN.to_owned()].map(|user| {
        let target = match &*user {
            ADMIN => format!("{}/app", fresh("team")),
            _ => format!("{user}/app"),
        };
        let client = case.pulp.pushing(case.sidecar.port, &user, &target);
        (client, target)
    });
    first.upload_layer();
    for (client, target) in others {
        let asked = client.head_blob(&target, &first.layer().digest);
        asked.expect(404);
        first.goes_on();
    }
    assert_eq!(
        case.ended("released") + case.ended("linked") + case.held(),
        0
    );
    first.finish();
}

#[test]
fn with_the_artifacts_a_layer_is_copied_right_after_its_upload() {
    let Some(case) = case(with_artifacts) else {
        return;
    };
    let [first, second, third] = ["first", "second", "third"].map(|name| case.runner(name));
    let layer = first.layer().bytes.clone();
    let leader = Leader::begins(first.client.clone(), &first.repository, &layer);
    let status = case.holds(&second, &first, || leader.ends());
    assert_eq!((status, case.ended("linked")), (302, 1));
    // One that asks after the upload and before the manifest.
    first.goes_on();
    assert_eq!((third.head(), case.ended("linked")), (302, 2));
    assert_eq!(case.sidecar.mounts("relayed", "none"), 2);
    second.finish();
    let bytes = case
        .pulp
        .pull(&second.client, &second.repository, &second.layer().digest);
    assert_eq!(bytes, layer);
}

#[test]
fn eight_that_push_at_once_upload_a_layer_once() {
    let Some(case) = case(|_| ()) else { return };
    let runners: Vec<_> = (0..8)
        .map(|number| case.runner(&format!("r{number}")))
        .collect();
    let [first, others @ ..] = &runners[..] else {
        unreachable!()
    };
    first.upload_layer();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let pushes = others.iter().map(|runner| scope.spawn(|| runner.push()));
        let pushes: Vec<_> = pushes.collect();
        wait_until("all are held", || {
            first.goes_on();
            case.held() == 7
        });
        first.finish();
        pushes
            .into_iter()
            .map(|push| push.join().unwrap())
            .collect()
    });
    assert_eq!(statuses, [302; 7]);
    assert_eq!(case.ended("linked"), 7);
}
