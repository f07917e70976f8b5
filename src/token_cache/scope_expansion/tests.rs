use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;

use super::*;
use crate::config::{self, Sources};
use crate::oci::Patterns;

const PUSH: &str = "/token/?service=h&scope=repository%3Ateam%2Fapp%3Apull%2Cpush";

const LOGIN: &str = "Basic YWxpY2U6c2VjcmV0";
const OTHER: &str = "Basic Ym9iOnNlY3JldA==";

fn head(method: &str, login: &str) -> Parts {
    let request = Request::builder().method(method).uri("/");
    let request = request.header("Authorization", login);
    request.body(()).unwrap().into_parts().0
}

/// Where everything was used lately, and `LOGIN` was granted three of them.
async fn widening(sources: Sources) -> ScopeExpansion {
    let discovery = Discovery::new(config::DiscoveryConfig {
        on_head: true,
        new_repositories: true,
        sources,
        shared: Patterns::parse(["base/*"]).unwrap(),
    });
    for name in [
        "base/os",
        "other/x",
        "team/lib",
        "team/app",
        "team/secret",
        "base/java",
    ] {
        discovery.record_use(&RepositoryName::parse(name).unwrap());
    }
    let widening = ScopeExpansion::new("/token/", Arc::new(discovery)).unwrap();
    let entry = |name: &str, actions: &str| {
        format!(r#"{{"type":"repository","name":"{name}","actions":[{actions}]}}"#)
    };
    let entries = [
        entry("team/lib", r#""pull""#),
        entry("team/app", r#""pull","push""#),
        entry("team/secret", ""),
        entry("other/x", r#""pull""#),
    ];
    let claims = format!(r#"{{"access":[{}]}}"#, entries.join(","));
    let claims = URL_SAFE_NO_PAD.encode(claims);
    let body = format!(r#"{{"token":"e30.{claims}.c2ln"}}"#);
    let names = ["team/lib", "team/app", "team/secret", "other/x"];
    let target = PUSH.to_owned()
        + &names
            .map(|name| format!("&scope=repository:{name}:pull"))
            .concat();
    let login = head("GET", LOGIN);
    let secret = RepositoryName::parse("team/secret").unwrap();
    let credentials = Credentials::from_single_header(&login.headers).unwrap();
    widening
        .granted
        .learn(&credentials, &secret, Use::Pulled)
        .await;
    widening
        .record_grant(target.as_bytes(), &login, body.as_bytes())
        .await;
    widening
}

async fn widened(
    widening: &ScopeExpansion,
    method: &str,
    target: &str,
    login: &str,
) -> Option<String> {
    let head = head(method, login);
    let widened = widening.expand(target.as_bytes(), &head).await?;
    Some(String::from_utf8(widened).unwrap())
}

fn added(target: &str, names: &[&str]) -> String {
    let scope = |name: &&str| format!("&scope=repository:{name}:pull");
    target.to_owned() + &names.iter().map(scope).collect::<String>()
}

#[tokio::test]
async fn a_push_asks_for_what_is_shared_and_what_the_login_was_granted_before() {
    for (sources, login, names) in [
        (Sources::Shared, LOGIN, &["base/java", "base/os"][..]),
        (
            Sources::Namespace,
            LOGIN,
            &["base/java", "team/lib", "base/os"],
        ),
        (
            Sources::Any,
            LOGIN,
            &["base/java", "team/lib", "other/x", "base/os"],
        ),
        (Sources::Any, OTHER, &["base/java", "base/os"]),
    ] {
        let widening = widening(sources).await;
        let found = widened(&widening, "GET", PUSH, login).await;
        assert_eq!(found, Some(added(PUSH, names)), "{sources:?}");
    }
    let shared = widening(Sources::Shared).await;
    let asked = format!("{PUSH}&scope=repository:base/java:pull");
    let found = widened(&shared, "GET", &asked, LOGIN).await;
    assert_eq!(found, Some(added(&asked, &["base/os"])));
}

#[tokio::test]
async fn after_a_refusal_nothing_is_widened_for_a_while() {
    let widening = widening(Sources::Shared).await;
    widening.record_refusal();
    assert_eq!(widened(&widening, "GET", PUSH, LOGIN).await, None);
    *widening.paused_until.lock() = Some(Instant::now());
    assert!(widened(&widening, "GET", PUSH, LOGIN).await.is_some());
}

#[tokio::test]
async fn a_target_does_not_grow_beyond_what_servers_take() {
    let widening = widening(Sources::Shared).await;
    let long = format!("{PUSH}&x={}", "y".repeat(LONGEST - PUSH.len() - 40));
    let found = widened(&widening, "GET", &long, LOGIN).await;
    assert_eq!(found, Some(added(&long, &["base/java"])));
    let longer = format!("{PUSH}&x={}", "y".repeat(LONGEST));
    assert_eq!(widened(&widening, "GET", &longer, LOGIN).await, None);
}

#[tokio::test]
async fn nothing_else_is_widened() {
    let near = widening(Sources::Namespace).await;
    for (method, target, login) in [
        ("POST", PUSH, LOGIN),
        ("GET", PUSH, "Basic Og=="),
        (
            "GET",
            "/token/?service=h&scope=repository:team/app:pull",
            LOGIN,
        ),
        (
            "GET",
            "/token/?service=h&scope=registry:catalog:push",
            LOGIN,
        ),
        ("GET", "/token/?service=h&scope=repository:TEAM:push", LOGIN),
        ("GET", "/token/?service=h", LOGIN),
        ("GET", "/token/", LOGIN),
        ("GET", "/v2/?scope=repository:team/app:push", LOGIN),
    ] {
        let found = widened(&near, method, target, login).await;
        assert_eq!(found, None, "{target}");
    }
}
