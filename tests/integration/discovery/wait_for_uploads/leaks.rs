//! Who may not pull where an upload goes causes and sees the same as without that upload.

use super::{LAYER, Leader, waiting};
use crate::{needs, support};
use serde_json::json;
use std::time::{Duration, Instant};
use support::digest_of;
use support::registry::Registry;
use support::registry_log::log_requests;
use support::sidecar::Sidecar;
use support::sidecar_metrics::whole;
use support::token_issuer::TokenIssuer;

const ALL: &[&str] = &["pull", "push"];
const ABSENT: &[u8] = b"a layer that no client uploads";

#[test]
fn answers_and_requests_to_the_registry_are_the_same_during_an_upload() {
    needs!("docker-registry", "openssl");
    let tokens = TokenIssuer::new();
    let registry = Registry::with(|config| {
        tokens.configure(config);
        log_requests(config);
    });
    for mode in ["token", "upstream"] {
        let sidecar = Sidecar::with(&registry, |config| {
            match mode {
                "token" => tokens.verify_here(config),
                _ => config["access"] = json!({"mode": mode}),
            }
            waiting(config, "30s");
        });
        let access = [("proof/of-store", ALL), ("secret/app", ALL)];
        let owner = sidecar.client().bearer(&tokens.token("owner", &access));
        sidecar.verify_store_as(&owner);
        let leader = Leader::begins(owner, "secret/app", LAYER);
        let caller = |name: &str| {
            let token = tokens.token(name, &[("target/app", ALL)]);
            sidecar.client().bearer(&token)
        };
        let faces = [(LAYER, "one"), (ABSENT, "two")].map(|(bytes, name)| {
            let (client, digest) = (caller(name), digest_of(bytes));
            let before = registry.log().len();
            let began = Instant::now();
            let answer = client.head_blob("target/app", &digest);
            let time = began.elapsed();
            // One that is held is so for thirty seconds.
            assert!(time < Duration::from_secs(10), "{mode}: {time:?}");
            let wait = Duration::from_millis(300);
            let asked = registry.requests_since(before, wait, |all| !all.is_empty());
            let asked: Vec<_> = asked.iter().map(|it| it.replace(&digest, "D")).collect();
            (answer.status, asked)
        });
        assert_eq!(faces[0], faces[1], "{mode}");
        assert_eq!(faces[0].0, 404);
        for result in ["linked", "released", "timed_out", "abandoned"] {
            let ended =
                sidecar.metric_meanwhile("crossmount_held_requests_total", &[("result", result)]);
            assert_eq!(whole(ended), 0, "{mode} {result}");
        }
        leader.breaks_off();
    }
}
