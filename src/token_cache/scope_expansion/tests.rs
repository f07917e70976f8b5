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

/// Every repository was used recently, and `LOGIN` was granted three of them.
async fn expansion(sources: Sources) -> ScopeExpansion {
    let discovery = Discovery::new(config::DiscoveryConfig {
        on_head: true,
        new_repositories: true,
        sources,
        shared: Patterns::parse(["base/*"]).unwrap(),
        ..config::DiscoveryConfig::default()
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
    let expansion = ScopeExpansion::new("/token/", Arc::new(discovery)).unwrap();
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
    expansion
        .granted
        .learn(&credentials, &secret, Use::Pulled)
        .await;
    expansion
        .record_grant(target.as_bytes(), &login, body.as_bytes())
        .await;
    expansion
}

async fn expand(
    expansion: &ScopeExpansion,
    method: &str,
    target: &str,
    login: &str,
) -> Option<String> {
    let head = head(method, login);
    let expanded = expansion.expand(target.as_bytes(), &head).await?;
    Some(String::from_utf8(expanded).unwrap())
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
        let expansion = expansion(sources).await;
        let found = expand(&expansion, "GET", PUSH, login).await;
        assert_eq!(found, Some(added(PUSH, names)), "{sources:?}");
    }
    let shared = expansion(Sources::Shared).await;
    let requested = format!("{PUSH}&scope=repository:base/java:pull");
    let found = expand(&shared, "GET", &requested, LOGIN).await;
    assert_eq!(found, Some(added(&requested, &["base/os"])));
}

#[tokio::test]
async fn after_a_refusal_nothing_is_widened_for_a_while() {
    let expansion = expansion(Sources::Shared).await;
    expansion.record_refusal();
    assert_eq!(expand(&expansion, "GET", PUSH, LOGIN).await, None);
    *expansion.paused_until.lock() = Some(Instant::now());
    assert!(expand(&expansion, "GET", PUSH, LOGIN).await.is_some());
}

#[tokio::test]
async fn a_target_does_not_grow_beyond_what_servers_take() {
    let expansion = expansion(Sources::Shared).await;
    let long = format!("{PUSH}&x={}", "y".repeat(LONGEST - PUSH.len() - 40));
    let found = expand(&expansion, "GET", &long, LOGIN).await;
    assert_eq!(found, Some(added(&long, &["base/java"])));
    let longer = format!("{PUSH}&x={}", "y".repeat(LONGEST));
    assert_eq!(expand(&expansion, "GET", &longer, LOGIN).await, None);
}

#[tokio::test]
async fn nothing_else_gets_more_scopes() {
    let near = expansion(Sources::Namespace).await;
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
        let found = expand(&near, method, target, login).await;
        assert_eq!(found, None, "{target}");
    }
}
