//! The same clients over TLS, and with tokens.

use super::forms::{COPIES, KNOWN, installed};
use super::push::{Push, Target};
use super::scene::{Logins, OWN, OWNER, Scene, discovery};
use crate::support::fresh_runner::can_run;
use crate::support::token_issuer::signed;
use serde_json::json;
use std::path::Path;

/// Each client sends the layer that no repository holds, if its image has one, and little else.
fn each_sends_only_its_own_layer(scene: &Scene, authority: Option<&Path>) {
    for (number, form) in installed(KNOWN).chain(installed(COPIES)).enumerate() {
        let target = Target {
            port: scene.sidecar.port,
            repository: &format!("team/app{number}"),
            login: OWNER,
            authority,
        };
        let push = Push::prepare(scene, form, target);
        let sent = push.run_counted();
        push.pull_back();
        // A token takes 2.5 kB of each request.
        let own = if form.given.has_own() { OWN as u64 } else { 0 };
        assert!(sent > own && sent < own + 200_000, "{}: {sent}", form.name);
    }
}

#[test]
fn with_tokens_each_client_sends_only_its_own_layer() {
    if can_run() {
        let scene = Scene::with(Logins::Tokens, discovery);
        each_sends_only_its_own_layer(&scene, None);
    }
}

#[test]
fn over_tls_each_client_sends_only_its_own_layer() {
    if !can_run() {
        return;
    }
    let pems = tempfile::tempdir().unwrap();
    signed(pems.path());
    let file = |name: &str| pems.path().join(name);
    let scene = Scene::with(Logins::Passwords, |config| {
        discovery(config);
        config["listen"]["tls"] = json!({"certificate": file("cert.pem"), "key": file("key.pem")});
    });
    let authority = Some(file("ca.pem"));
    // The first upload through crossmount shows it that the store is the registry's.
    scene.sidecar.until_verification_ends(|| {
        let target = Target {
            port: scene.sidecar.port,
            repository: "first/app",
            login: OWNER,
            authority: authority.as_deref(),
        };
        Push::prepare(&scene, &KNOWN[0], target).run_it();
    });
    each_sends_only_its_own_layer(&scene, authority.as_deref());
}
