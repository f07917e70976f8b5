//! Layers that the client does not know of, mounted by any other registry itself.

use crate::{needs, support};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use support::discovery::discover_on_head;
use support::misbehaving_upstream::{MisbehavingUpstream, Reply, answer};
use support::registry::Registry;
use support::registry_client::{Client, encoded};
use support::sidecar::Sidecar;
use support::wait_until;

/// What a registry of another kind answers to mounts; everything else is as usual.
struct Other {
    upstream: MisbehavingUpstream,
    is_closed: Arc<AtomicBool>,
    sidecar: Sidecar,
    digest: String,
}

impl Other {
    /// It mounts from `src`, and begins an upload for a mount from anywhere else.
    fn start() -> Self {
        let mounted = AtomicBool::new(false);
        let is_closed = Arc::new(AtomicBool::new(false));
        let closed = is_closed.clone();
        let upstream = MisbehavingUpstream::start(move |heard| {
            let is_mount = heard.target.contains("mount=");
            let begun = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\
                         Location: /v2/dst/blobs/uploads/17?_state=a\r\n\r\n";
            let said = match &*heard.method {
                _ if heard.header("Authorization").is_none() => "401 Unauthorized",
                "DELETE" => "204 No Content",
                "PUT" => {
                    let digest = heard.target.rsplit('=').next().unwrap();
                    let head = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n";
                    let named = format!("{head}Docker-Content-Digest: {digest}\r\n\r\n");
                    return Reply::Answer(named.into());
                }
                "HEAD" if heard.target.starts_with("/v2/dst/") && !mounted.load(SeqCst) => {
                    "404 Not Found"
                }
                "HEAD" => "200 OK",
                "GET" if heard.target.starts_with("/v2/closed/") && closed.load(SeqCst) => {
                    "403 Forbidden"
                }
                "GET" => {
                    assert_eq!(heard.header("Range"), Some("bytes=0-0"));
                    return Reply::Answer(answer("206 Partial Content", "b"));
                }
                "POST" if heard.target.contains("from=slow") => {
                    return Reply::Pieces(vec![begun.into()], Duration::from_millis(500));
                }
                "POST" if is_mount && heard.target.contains("from=src") => {
                    mounted.store(true, SeqCst);
                    "201 Created"
                }
                _ => return Reply::Answer(begun.into()),
            };
            Reply::Answer(answer(said, ""))
        });
        let sidecar = Sidecar::generic(&upstream.url(), |config| {
            config["discovery"] = json!({
                "enabled": true, "on_head": true, "sources": "any", "shared_sources": ["base/*"],
            });
        });
        Self {
            upstream,
            is_closed,
            sidecar,
            digest: support::digest_of(b"a layer"),
        }
    }

    /// From now on nobody may see one repository.
    fn close(&self) {
        self.is_closed.store(true, SeqCst);
    }

    fn alice(&self) -> Client {
        self.sidecar.client().basic("alice", "right")
    }

    /// The mounts that were asked for, and what else changes something.
    fn writes(&self) -> Vec<String> {
        let all = self.upstream.all();
        let writes = all
            .iter()
            .filter(|heard| !["GET", "HEAD"].contains(&&*heard.method));
        writes
            .map(|heard| format!("{} {}", heard.method, heard.target))
            .collect()
    }
}

#[test]
fn in_front_of_any_registry_a_login_is_tried_where_it_was_used() {
    let other = Other::start();
    let (alice, digest) = (other.alice(), &other.digest);
    let bob = other.sidecar.client().basic("bob", "also right");
    alice.head_blob("dst", digest).expect(404);
    alice.head_blob("src", digest).expect(200);
    other.sidecar.client().head_blob("dst", digest).expect(401);
    bob.head_blob("dst", digest).expect(404);
    assert_eq!(other.writes().len(), 0);
    alice.head_blob("dst", digest).expect(200);
    assert_eq!(other.writes().len(), 1);
    assert_eq!(other.sidecar.mounts("native", "none"), 1);
}

#[test]
fn in_front_of_any_registry_a_login_that_was_not_seen_there_causes_the_same_for_any_layer() {
    let other = Other::start();
    let held = &other.digest;
    other.alice().head_blob("src", held).expect(200);
    let bob = other.sidecar.client().basic("bob", "also right");
    let absent = support::digest_of(b"held by nobody");
    let caused = [held, &absent].map(|digest| {
        let before = other.upstream.all().len();
        bob.head_blob("dst", digest).expect(404);
        let path = format!("/v2/dst/blobs/uploads/?mount={}", encoded(digest));
        bob.request("POST", &path).send(bob.port).expect(202);
        bob.mount("dst", digest, "nowhere").expect(202);
        let asked = other.upstream.all();
        let asked = asked[before..].iter().map(|heard| {
            let target = heard.target.replace(&encoded(digest), "D");
            format!("{} {}", heard.method, target.replace(digest, "D"))
        });
        asked.collect::<Vec<_>>()
    });
    assert_eq!(caused[0], caused[1]);
    assert!(!caused[0].iter().any(|asked| asked.starts_with("GET ")));
}

#[test]
fn in_front_of_generic_registries_a_token_is_tried_where_it_was_used_not_where_it_claims() {
    let other = Other::start();
    other.alice().head_blob("src", &other.digest).expect(200);
    // {"access":[{"type":"repository","name":"src","actions":["pull"]}]}
    let token = "e30.eyJhY2Nlc3MiOlt7InR5cGUiOiJyZXBvc2l0b3J5IiwibmFtZSI6InNyYyIsImFjdGlvbnMiOlsicHVsbCJdfV19.c2ln";
    let client = other.sidecar.client().bearer(token);
    client.head_blob("dst", &other.digest).expect(404);
    assert_eq!(other.writes().len(), 0);
    client.head_blob("src", &other.digest).expect(200);
    client.head_blob("dst", &other.digest).expect(200);
    assert_eq!(other.writes().len(), 1);
}

#[test]
fn in_front_of_any_registry_what_is_shared_is_tried_for_logins_that_it_knows() {
    let other = Other::start();
    let (alice, digest) = (other.alice(), &other.digest);
    let bob = other.sidecar.client().basic("bob", "who knows");
    alice.head_blob("base/os", digest).expect(200);
    bob.head_blob("dst", digest).expect(404);
    assert_eq!(other.writes().len(), 0);
    // Anybody may be shown a layer of a public repository; a push shows who it is.
    bob.head_blob("elsewhere", digest).expect(200);
    bob.head_blob("dst", digest).expect(404);
    let is_shared = |write: &String| write.contains("from=base%2Fos");
    assert!(!other.writes().iter().any(is_shared));
    let session = "/v2/own/blobs/uploads/1?digest=";
    let own = support::digest_of(b"bob's own");
    let end = bob.request("PUT", &format!("{session}{own}"));
    end.body(b"bob's own").send(bob.port).expect(201);
    bob.head_blob("dst", digest).expect(404);
    assert!(other.writes().iter().any(is_shared));
}

#[test]
fn in_front_of_any_registry_a_source_that_the_caller_may_no_longer_see_is_not_tried_again() {
    let other = Other::start();
    let (alice, digest) = (other.alice(), &other.digest);
    alice.head_blob("closed", digest).expect(200);
    other.close();
    alice.head_blob("dst", digest).expect(404);
    let looks = || {
        let all = other.upstream.all();
        let looks = all
            .iter()
            .filter(|heard| heard.target.starts_with("/v2/closed/"));
        looks.count()
    };
    assert_eq!(looks(), 2);
    alice.head_blob("dst", digest).expect(404);
    assert_eq!((looks(), other.writes().len()), (2, 0));
}

#[test]
fn forwarded_headers_of_a_client_are_sent_with_a_suggested_mount_too() {
    let other = Other::start();
    let (alice, digest) = (other.alice(), &other.digest);
    alice.head_blob("src", digest).expect(200);
    let path = format!("/v2/dst/blobs/{digest}");
    let head = alice.request("HEAD", &path);
    let head = head
        .header("X-Forwarded-Proto", "https")
        .header("Cookie", "a=b");
    head.send(alice.port).expect(200);
    let all = other.upstream.all();
    let mount = all.iter().find(|heard| heard.method == "POST").unwrap();
    assert_eq!(mount.header("X-Forwarded-Proto"), Some("https"));
    assert_eq!(mount.header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(mount.header("Cookie"), None);
    let byte = all.iter().find(|heard| heard.method == "GET").unwrap();
    assert_eq!(byte.header("X-Forwarded-Proto"), Some("https"));
    assert_eq!(byte.header("Authorization"), mount.header("Authorization"));
    assert_eq!(byte.header("Cookie"), None);
}

#[test]
fn a_client_that_leaves_leaves_no_upload_of_a_suggestion_behind() {
    let other = Other::start();
    let (alice, digest) = (other.alice(), &other.digest);
    alice.head_blob("slow", digest).expect(200);
    let path = format!("/v2/dst/blobs/uploads/?mount={}", encoded(digest));
    let mut connection = alice.connect();
    let request = alice.request("POST", &path);
    connection.write(&request.bytes(alice.port)).unwrap();
    wait_until("the mount is asked for", || other.writes().len() == 1);
    drop(connection);
    let end = "DELETE /v2/dst/blobs/uploads/17?_state=a";
    wait_until("its session is deleted", || {
        other.writes().iter().any(|write| write == end)
    });
}

#[test]
fn an_upload_that_a_useless_suggestion_has_begun_is_deleted_and_the_suggestion_forgotten() {
    let other = Other::start();
    let (alice, digest) = (other.alice(), &other.digest);
    alice.head_blob("other", digest).expect(200);
    alice.head_blob("dst", digest).expect(404);
    wait_until("its session is deleted", || other.writes().len() == 2);
    let writes = other.writes();
    assert!(writes[0].starts_with("POST /v2/dst/blobs/uploads/?from=other&"));
    assert_eq!(writes[1], "DELETE /v2/dst/blobs/uploads/17?_state=a");
    alice.head_blob("dst", digest).expect(404);
    assert_eq!(other.writes().len(), 2);
}

#[test]
fn in_front_of_any_registry_what_was_deleted_stays_away() {
    let other = Other::start();
    let (alice, digest) = (other.alice(), &other.digest);
    alice.head_blob("src", digest).expect(200);
    let path = format!("/v2/dst/blobs/{}", encoded(digest));
    alice.request("DELETE", &path).send(alice.port).expect(204);
    alice.head_blob("dst", digest).expect(404);
    assert_eq!(other.writes().len(), 1);
    // A mount is wanted all the same.
    let path = format!("/v2/dst/blobs/uploads/?mount={}", encoded(digest));
    alice.request("POST", &path).send(alice.port).expect(201);
}

#[test]
fn a_mount_that_any_registry_makes_teaches_its_source_and_its_target() {
    needs!("docker-registry");
    let registry = Registry::start();
    let sidecar = Sidecar::generic(&registry.url(), discover_on_head);
    let [alice, bob, eve] =
        ["alice", "bob", "eve"].map(|user| sidecar.client().basic(user, "right"));
    let digest = registry.client().upload("s", b"a layer");
    let other = registry.client().upload("s", b"another layer");
    bob.head_blob("s", &other).expect(200);
    alice.mount("t", &digest, "s").expect(201);
    eve.head_blob("u", &digest).expect(404);
    bob.head_blob("u", &digest).expect(200);
    // She was let into the target; what the source is to her the registry has not said.
    alice.head_blob("v", &other).expect(404);
    registry.store.remove_link("s", &digest);
    registry.store.remove_link("u", &digest);
    alice.head_blob("v", &digest).expect(200);
}
