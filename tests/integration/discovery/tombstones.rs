//! What was deleted on purpose stays away.

use crate::{needs, support};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use support::discovery::discover_on_head;
use support::misbehaving_upstream::{Reply, answer};
use support::registry::Registry;
use support::registry_client::encoded;
use support::scripted_registry::ScriptedRegistry;
use support::sidecar::Sidecar;
use support::wait_until;

#[test]
fn a_deleted_layer_is_not_brought_back_by_a_head() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    client.head_blob("app", &digest).expect(200);
    let path = format!("/v2/app/blobs/{digest}");
    client
        .request("DELETE", &path)
        .send(client.port)
        .expect(202);
    client.head_blob("app", &digest).expect(404);
    // Elsewhere it may appear.
    client.head_blob("other", &digest).expect(200);
    // Whoever asks for a mount says that it is wanted.
    client.mount("app", &digest, "base").expect(201);
    client.head_blob("app", &digest).expect(200);
    assert_eq!(sidecar.mounted(), 3);
}

#[test]
fn a_delete_that_the_registry_refuses_bars_nothing() {
    needs!("docker-registry");
    let registry = Registry::with(|config| {
        config["storage"]["delete"] = serde_json::json!({"enabled": false});
    });
    let sidecar = Sidecar::with_discovery(&registry);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    let path = format!("/v2/app/blobs/{digest}");
    client
        .request("DELETE", &path)
        .send(client.port)
        .expect(405);
    client.head_blob("app", &digest).expect(200);
    assert_eq!(sidecar.mounted(), 1);
}

#[test]
fn a_layer_is_deleted_however_its_name_is_written() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::with_discovery(&registry);
    let client = sidecar.client();
    let digest = client.upload("base", b"a layer");
    let encoded = encoded(&digest);
    for (repository, path) in [
        ("a/one", format!("/v2/a/one/blobs/{encoded}")),
        ("a/two", format!("/v2/a%2Ftwo/blobs/{digest}")),
    ] {
        client.head_blob(repository, &digest).expect(200);
        client
            .request("DELETE", &path)
            .send(client.port)
            .expect(202);
        client.head_blob(repository, &digest).expect(404);
    }
}

/// A registry whose answers to deletions are told one by one, and which holds a layer.
struct Slow {
    registry: ScriptedRegistry,
    sidecar: Sidecar,
    digest: String,
    told: Sender<&'static str>,
}

impl Slow {
    fn start() -> Self {
        let (told, answers) = channel::<&str>();
        let answers = Mutex::new(answers);
        let registry = ScriptedRegistry::start(move |heard| match &*heard.method {
            "DELETE" => Some(match answers.lock().unwrap().recv() {
                Ok(said) => Reply::Answer(answer(said, "")),
                Err(_) => Reply::Close,
            }),
            "HEAD" => Some(Reply::Answer(answer("404 Not Found", ""))),
            _ => None,
        });
        let digest = registry.plant("base", b"a layer");
        let sidecar = registry.sidecar(discover_on_head);
        sidecar.wait_for_scan();
        Self {
            registry,
            sidecar,
            digest,
            told,
        }
    }

    /// Whether a HEAD brings the layer.
    fn brings_it(&self) -> bool {
        self.sidecar.client().head_blob("app", &self.digest);
        self.registry.store.has_link("app", &self.digest)
    }

    fn path(&self) -> String {
        format!("/v2/app/blobs/{}", self.digest)
    }

    fn hears_deletions(&self, count: usize) {
        wait_until("the registry is deleting", || {
            self.registry.heard("DELETE").len() == count
        });
    }
}

#[test]
fn a_head_that_comes_while_a_delete_is_on_its_way_brings_nothing_back() {
    let slow = Slow::start();
    let deleting = |count: usize, answer: &'static str, linked: bool| {
        std::thread::scope(|scope| {
            let deleted = scope.spawn(|| {
                let client = slow.sidecar.client();
                client.request("DELETE", &slow.path()).send(client.port)
            });
            slow.hears_deletions(count);
            assert!(!slow.brings_it(), "meanwhile");
            slow.told.send(answer).unwrap();
            deleted.join().unwrap();
            assert_eq!(slow.brings_it(), linked, "{answer}");
        });
    };
    // It was not there to be deleted, so nothing is barred.
    deleting(1, "404 Not Found", true);
    slow.registry.store.remove_link("app", &slow.digest);
    deleting(2, "202 Accepted", false);
    deleting(3, "404 Not Found", false);
}

#[test]
fn a_client_that_does_not_wait_for_the_answer_has_deleted_all_the_same() {
    let slow = Slow::start();
    let client = slow.sidecar.client();
    let mut connection = client.connect();
    let request = client.request("DELETE", &slow.path());
    connection.write(&request.bytes(client.port)).unwrap();
    slow.hears_deletions(1);
    drop(connection);
    wait_until("the request is over", || {
        let ended = [("method", "DELETE")];
        slow.sidecar.metric("crossmount_requests_total", &ended) > 0.0
    });
    assert!(!slow.brings_it());
    slow.told.send("202 Accepted").unwrap();
    assert!(!slow.brings_it());
}

/// A layer of `base` that a HEAD brought to `app`, and that was then deleted there.
struct Deleted {
    registry: Registry,
    digest: String,
}

impl Deleted {
    /// Deleted at the registry itself, so that no sidecar saw it.
    fn start() -> Self {
        let registry = Registry::start();
        let sidecar = Sidecar::with_discovery(&registry);
        let client = sidecar.client();
        let digest = client.upload("base", b"a layer");
        client.head_blob("app", &digest).expect(200);
        let direct = registry.client();
        direct
            .request("DELETE", &format!("/v2/app/blobs/{digest}"))
            .send(direct.port)
            .expect(202);
        Self { registry, digest }
    }

    /// A sidecar that has just started and knows the layers of the store.
    fn sidecar(&self, change: impl FnOnce(&mut serde_json::Value)) -> Sidecar {
        let sidecar = Sidecar::with(&self.registry, |config| {
            discover_on_head(config);
            change(config);
        });
        sidecar.wait_for_scan();
        sidecar.verify_store();
        sidecar
    }
}

#[test]
fn a_deletion_that_no_replica_saw_counts_also_after_a_restart() {
    needs!("docker-registry");
    let deleted = Deleted::start();
    for _ in 0..2 {
        let sidecar = deleted.sidecar(|_| ());
        let client = sidecar.client();
        client.head_blob("app", &deleted.digest).expect(404);
        // Elsewhere it may appear.
        client.head_blob("other", &deleted.digest).expect(200);
    }
    let sidecar = deleted.sidecar(|_| ());
    let client = sidecar.client();
    client.mount("app", &deleted.digest, "base").expect(201);
    client.head_blob("app", &deleted.digest).expect(200);
}

#[test]
fn a_layer_that_was_deleted_is_uploaded_as_without_crossmount() {
    needs!("docker-registry");
    let deleted = Deleted::start();
    let sidecar = deleted.sidecar(|_| ());
    let client = sidecar.client();
    client.head_blob("app", &deleted.digest).expect(404);
    client.upload("app", b"a layer");
    client.head_blob("app", &deleted.digest).expect(200);
}

#[test]
fn a_deletion_counts_for_the_configured_time() {
    needs!("docker-registry");
    let deleted = Deleted::start();
    let link = deleted.registry.store.link("app", &deleted.digest);
    let directory = std::fs::File::open(link.parent().unwrap()).unwrap();
    let two_hours_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 3600);
    directory.set_modified(two_hours_ago).unwrap();
    let sidecar = deleted.sidecar(|config| {
        config["discovery"]["deleted_for"] = serde_json::json!("3h");
    });
    let head = |sidecar: &Sidecar| sidecar.client().head_blob("app", &deleted.digest);
    head(&sidecar).expect(404);
    let sidecar = deleted.sidecar(|_| ());
    head(&sidecar).expect(200);
}
