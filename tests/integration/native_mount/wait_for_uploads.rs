//! A HEAD waits for an upload of the same layer, and then the registry mounts it.

use crate::discovery::wait_for_uploads::{LAYER, Leader, push, statuses, waiting};
use crate::{needs, support};
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;
use support::digest_of;
use support::registry::Registry;
use support::registry_client::Client;
use support::registry_log::log_requests;
use support::sidecar::{Sidecar, generous_time_budget};
use support::sidecar_metrics::whole;
use support::token_issuer::TokenIssuer;
use support::wait_until;

const USERS: &[&str] = &["leader", "one", "two", "three", "four"];
const ALL: &[&str] = &["pull", "push"];
const PULL: &[&str] = &["pull"];

/// A registry that mounts itself, and a sidecar that lets HEADs wait.
struct Case {
    registry: Registry,
    sidecar: Sidecar,
}

impl Case {
    /// In front of a registry of which crossmount knows nothing.
    fn generic(change: impl FnOnce(&mut Value)) -> Self {
        let registry = registry_with_users();
        let sidecar = Sidecar::generic(&registry.url(), |config| {
            generous_time_budget(config);
            waiting(config, "30s");
            change(config);
        });
        Self { registry, sidecar }
    }

    /// In front of distribution whose store crossmount does not know.
    fn writer(registry: Registry, mode: &str) -> Self {
        let sidecar = Sidecar::generic(&registry.url(), |config| {
            config["upstream"] = json!({"url": registry.url()});
            config["mount"] = json!({"writer": "registry", "time_budget": "30s"});
            config["access"] = json!({"mode": mode});
            waiting(config, "30s");
        });
        Self { registry, sidecar }
    }

    fn client(&self, user: &str) -> Client {
        self.sidecar.client().basic(user, "right")
    }

    /// A layer that a repository holds, pushed past crossmount.
    fn seed(&self, repository: &str) -> String {
        let client = self.registry.client().basic("leader", "right");
        client.upload(repository, repository.as_bytes())
    }

    /// These users have pulled from the repository.
    fn pulled(&self, repository: &str, users: &[&str]) {
        let seed = self.seed(repository);
        for user in users {
            self.client(user).head_blob(repository, &seed).expect(200);
        }
    }

    fn held(&self) -> u64 {
        whole(
            self.sidecar
                .metric_meanwhile("crossmount_held_requests", &[]),
        )
    }

    fn ended(&self, result: &str) -> u64 {
        let name = "crossmount_held_requests_total";
        whole(self.sidecar.metric_meanwhile(name, &[("result", result)]))
    }

    #[track_caller]
    fn wait_until_held(&self, number: u64) {
        wait_until("so many are held", || self.held() == number);
    }

    #[track_caller]
    fn nothing_was_held(&self) {
        for result in ["linked", "released", "timed_out", "abandoned"] {
            assert_eq!(self.ended(result), 0, "{result}");
        }
    }

    /// Four clients push the layer while it is being uploaded, until `end` is done.
    fn four_push(&self, clients: [Client; 4], end: impl FnOnce()) -> Vec<u16> {
        self.four_push_while(clients, || (), end)
    }

    /// The same, and `renew` lets the leader's claim count until all of them wait.
    fn four_push_while(
        &self,
        clients: [Client; 4],
        renew: impl Fn(),
        end: impl FnOnce(),
    ) -> Vec<u16> {
        thread::scope(|scope| {
            let pushes = clients.into_iter().zip(&USERS[1..]);
            let pushes = pushes.map(|(client, user)| {
                scope.spawn(move || push(&client, &format!("{user}/app"), LAYER))
            });
            let pushes = pushes.collect();
            wait_until("all are held", || {
                renew();
                self.held() == 4
            });
            end();
            statuses(pushes)
        })
    }

    #[track_caller]
    fn four_were_linked(&self) {
        assert_eq!((self.held(), self.ended("linked")), (0, 4));
        assert_eq!(self.sidecar.mounts("native", "none"), 4);
        let bytes = self
            .sidecar
            .metric("crossmount_mounted_bytes_total", &[("via", "wait")]);
        assert_eq!(whole(bytes), 4 * LAYER.len() as u64);
        let lines = self.sidecar.log_lines_with("held request ended", 4);
        assert!(lines.iter().all(|line| line["result"] == "linked"));
    }
}

fn registry_with_users() -> Registry {
    let mut registry = Registry::prepared(log_requests);
    let users: Vec<_> = USERS.iter().map(|user| (*user, "right")).collect();
    registry.demand_passwords(&users);
    registry.resume();
    registry
}

fn all_but_the_leader(case: &Case) -> [Client; 4] {
    ["one", "two", "three", "four"].map(|user| case.client(user))
}

#[test]
fn any_registry_mounts_for_all_that_waited_for_one_upload() {
    needs!("docker-registry", "htpasswd");
    let case = Case::generic(|_| ());
    case.pulled("leader/app", &USERS[1..]);
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let statuses = case.four_push(all_but_the_leader(&case), || {
        leader.ends();
    });
    assert_eq!(statuses, [200; 4]);
    case.four_were_linked();
    for user in &USERS[1..] {
        let client = case.registry.client().basic(user, "right");
        let pulled = client.pull(&format!("{user}/app"), &digest_of(LAYER));
        assert_eq!(pulled, LAYER);
    }
}

#[test]
fn a_caller_who_was_not_seen_there_causes_the_same_as_without_an_upload() {
    needs!("docker-registry", "htpasswd");
    let case = Case::generic(|_| ());
    let client = case.client("one");
    case.pulled("one/app", &["one"]);
    let absent = digest_of(b"held by no repository");
    let asked = |digest: &str| {
        let before = case.registry.log().len();
        client.head_blob("one/app", digest).expect(404);
        let quiet = Duration::from_millis(300);
        let asked = case
            .registry
            .requests_since(before, quiet, |seen| !seen.is_empty());
        asked.join("\n").replace(digest, "D")
    };
    let without = asked(&absent);
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    assert_eq!(asked(&digest_of(LAYER)), without);
    case.nothing_was_held();
    leader.ends();
}

#[test]
fn when_an_upload_breaks_off_one_client_goes_on_for_all() {
    needs!("docker-registry", "htpasswd");
    let case = Case::generic(|_| ());
    // One login for all runners, which has pushed to their repositories before.
    let ci = || case.client("leader");
    for user in USERS {
        let repository = format!("{user}/app");
        ci().upload(&repository, b"its first layer");
    }
    let leader = Leader::begins(ci(), "leader/app", LAYER);
    let statuses = case.four_push([(); 4].map(|()| ci()), || leader.breaks_off());
    assert_eq!(statuses, [200, 200, 200, 404]);
    assert_eq!((case.ended("linked"), case.ended("released")), (3, 1));
}

#[test]
fn the_first_layer_of_a_repository_is_waited_for_by_the_same_login() {
    needs!("docker-registry", "htpasswd");
    let case = Case::generic(|_| ());
    let ci = || case.client("leader");
    let leader = Leader::begins(ci(), "leader/app", LAYER);
    let statuses = case.four_push([(); 4].map(|()| ci()), || leader.ends());
    assert_eq!(statuses, [200; 4]);
    case.four_were_linked();
}

#[test]
fn a_login_that_was_not_seen_pushing_is_waited_for_only_once_it_uploads() {
    needs!("docker-registry", "htpasswd");
    let case = Case::generic(|_| ());
    case.pulled("leader/app", &USERS[1..]);
    let leader = case.client("leader");
    let both_ask = |digest: &str| {
        leader.head_blob("leader/app", digest).expect(404);
        case.client("one").head_blob("one/app", digest).expect(404);
    };
    both_ask(&digest_of(LAYER));
    case.nothing_was_held();
    leader.upload("leader/app", b"another layer");
    // Until it is clear that the leader, who has pushed, does not upload this one.
    both_ask(&digest_of(b"a third layer"));
    assert_eq!(case.ended("released"), 1);
}

#[test]
fn without_new_repositories_no_head_waits_for_a_mount_that_would_not_be_made() {
    needs!("docker-registry", "htpasswd");
    let case = Case::generic(|config| config["discovery"]["new_repositories"] = json!(false));
    case.pulled("leader/app", &["one", "two"]);
    let client = case.registry.client().basic("two", "right");
    support::image::Image::of(&["own"], 2000).push(&client, "two/app", "v1");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    let digest = digest_of(LAYER);
    case.client("one").head_blob("one/app", &digest).expect(404);
    case.nothing_was_held();
    thread::scope(|scope| {
        let held = scope.spawn(|| case.client("two").head_blob("two/app", &digest).status);
        case.wait_until_held(1);
        leader.ends();
        assert_eq!(held.join().unwrap(), 200);
    });
}

#[test]
fn a_deleted_layer_is_not_waited_for() {
    needs!("docker-registry", "htpasswd");
    let case = Case::generic(|_| ());
    case.pulled("leader/app", &["one"]);
    let digest = digest_of(LAYER);
    let client = case.client("one");
    client.upload("one/app", LAYER);
    let path = format!("/v2/one/app/blobs/{digest}");
    client
        .request("DELETE", &path)
        .send(client.port)
        .expect(202);
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    client.head_blob("one/app", &digest).expect(404);
    case.nothing_was_held();
    leader.breaks_off();
}

#[test]
fn behind_a_password_file_every_user_waits_and_no_other_client_does() {
    needs!("docker-registry", "htpasswd");
    let case = Case::writer(registry_with_users(), "htpasswd");
    let leader = Leader::begins(case.client("leader"), "leader/app", LAYER);
    for client in [
        case.sidecar.client(),
        case.sidecar.client().basic("one", "wrong"),
    ] {
        client.head_blob("one/app", &digest_of(LAYER)).expect(401);
    }
    let statuses = case.four_push(all_but_the_leader(&case), || leader.ends());
    assert_eq!(statuses, [200; 4]);
    case.four_were_linked();
}

#[test]
fn behind_a_password_file_one_goes_on_for_all_when_the_first_never_uploads() {
    needs!("docker-registry", "htpasswd");
    let case = Case::writer(registry_with_users(), "htpasswd");
    let leader = case.client("leader");
    let asks = || {
        leader
            .head_blob("leader/app", &digest_of(LAYER))
            .expect(404);
    };
    asks();
    let statuses = case.four_push_while(all_but_the_leader(&case), asks, || ());
    assert_eq!(statuses, [200, 200, 200, 404]);
    assert_eq!((case.ended("linked"), case.ended("released")), (3, 1));
}

#[test]
fn behind_an_open_registry_every_client_waits() {
    needs!("docker-registry");
    let case = Case::writer(Registry::start(), "none");
    let leader = Leader::begins(case.sidecar.client(), "leader/app", LAYER);
    let clients = [(); 4].map(|()| case.sidecar.client());
    let statuses = case.four_push(clients, || leader.ends());
    assert_eq!(statuses, [200; 4]);
    case.four_were_linked();
}

#[test]
fn with_tokens_a_caller_waits_who_may_pull_there_and_push_to_the_target() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let case = Case::writer(tokens.registry(), "token");
    let client = |access: &[(&str, &[&str])]| -> Client {
        let token = tokens.token("ci", access);
        case.sidecar.client().bearer(&token)
    };
    let digest = digest_of(LAYER);
    // A client that may only pull does not claim the layer.
    client(&[("one/app", PULL)])
        .head_blob("one/app", &digest)
        .expect(404);
    let both = client(&[("leader/app", ALL), ("one/app", PULL)]);
    let leader = Leader::begins(both, "leader/app", LAYER);
    for (target, access) in [
        ("three/app", vec![("three/app", ALL)]),
        (
            "four/app",
            vec![("four/app", ALL), ("leader/app", &["push"])],
        ),
        ("one/app", vec![("one/app", PULL), ("leader/app", PULL)]),
    ] {
        client(&access).head_blob(target, &digest).expect(404);
    }
    let forged = TokenIssuer::new().token("ci", &[("one/app", ALL), ("leader/app", PULL)]);
    let forged = case.sidecar.client().bearer(&forged);
    forged.head_blob("one/app", &digest).expect(401);
    case.nothing_was_held();
    thread::scope(|scope| {
        let client = client(&[("two/app", ALL), ("leader/app", PULL)]);
        let held = scope.spawn(move || client.head_blob("two/app", &digest_of(LAYER)).status);
        case.wait_until_held(1);
        leader.ends();
        assert_eq!(held.join().unwrap(), 200);
    });
    assert_eq!(case.ended("linked"), 1);
}
