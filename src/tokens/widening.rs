//! A client's own request for a token to push with, widened by pull on likely sources.
//!
//! The token server decides about each of them, and the token says what it decided: then a layer
//! may be mounted from there for whoever shows the token. A token also lists what was denied, so
//! asked for is only what everybody may know of, and what the same login was granted before.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::keeping::handed_out;
use super::scope::Scope;
use crate::access::{Claims, Credentials, Use, Used};
use crate::discovery::Discovery;
use crate::memory::NoRandomness;
use crate::oci::RepositoryName;
use crate::query::pairs;

/// Bytes up to which a request line's target grows: servers take 4094 (gunicorn's
/// `limit_request_line`), and more than twice as much elsewhere.
const LONGEST: usize = 2000;
/// How long nothing is widened after a token server has refused that.
const PAUSE: Duration = Duration::from_secs(10 * 60);
/// What a query holds as it is (RFC 3986, 3.4).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b':')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// Widens requests to one token endpoint.
#[derive(Debug)]
pub struct Widening {
    path: String,
    discovery: Arc<Discovery>,
    granted: Used,
    paused_until: Mutex<Option<Instant>>,
}

impl Widening {
    /// By what `discovery` holds likely; knows nothing of what logins are granted yet.
    ///
    /// # Errors
    /// [`NoRandomness`]
    pub fn new(path: &str, discovery: Arc<Discovery>) -> Result<Self, NoRandomness> {
        Ok(Self {
            path: path.to_owned(),
            discovery,
            granted: Used::new(Claims::Ignored)?,
            paused_until: Mutex::default(),
        })
    }

    /// Whether a request asks for a login's token, from whose answer something is learned.
    #[must_use]
    pub fn concerns(&self, target: &[u8], head: &Parts) -> bool {
        let path = target.split(|b| *b == b'?').next();
        let is_login = Credentials::sole(&head.headers).is_some_and(|shown| !shown.is_nobody());
        head.method == Method::GET && path == Some(self.path.as_bytes()) && is_login
    }

    /// The request line's target with more scopes; `None` where it stays as it is.
    pub async fn widened(&self, target: &[u8], head: &Parts) -> Option<Vec<u8>> {
        if !self.concerns(target, head) || self.is_paused() {
            return None;
        }
        let text = std::str::from_utf8(target).ok()?;
        let (_, query) = text.split_once('?')?;
        let scopes = scopes(query)?;
        let pushed = scopes.iter().find_map(Scope::pushes_to)?;
        let asked: HashSet<_> = scopes.iter().map(Scope::name).collect();
        let granted = self.granted.by(&Credentials::sole(&head.headers)?).await;
        let mut widened = text.to_owned();
        for source in self.discovery.likely(&pushed, &granted) {
            if asked.contains(source.as_str()) {
                continue;
            }
            let scope = format!("repository:{source}:pull");
            let more = format!("&scope={}", utf8_percent_encode(&scope, ESCAPED));
            if widened.len() + more.len() <= LONGEST {
                widened += &more;
            }
        }
        (widened.len() > text.len()).then(|| widened.into_bytes())
    }

    /// A widened request was refused, and the client's own was not: nothing is widened for a while.
    pub fn was_refused(&self) {
        let until = Instant::now() + PAUSE;
        let was_paused = self.paused_until().replace(until);
        if was_paused.is_none() {
            tracing::warn!(
                "the token server refuses a request with more scopes: discovery.widen_scopes is no use here"
            );
        }
    }

    /// Learns what a login was granted of what it asked for, from the answer to it.
    pub async fn learn(&self, target: &[u8], head: &Parts, body: &[u8]) {
        let asked = std::str::from_utf8(target).ok().and_then(|text| {
            let (_, query) = text.split_once('?')?;
            scopes(query)
        });
        let (Some(credentials), Some(token), Some(asked)) =
            (Credentials::sole(&head.headers), handed_out(body), asked)
        else {
            return;
        };
        let granted = token.pulls();
        for scope in asked.iter().filter(|scope| scope.asks_for("pull")) {
            let Ok(name) = RepositoryName::parse(scope.name()) else {
                continue;
            };
            if granted.contains(name.as_str()) {
                self.granted.learn(&credentials, &name, Use::Pulled).await;
            } else {
                self.granted.forget(&credentials, &name).await;
            }
        }
    }

    fn is_paused(&self) -> bool {
        self.paused_until()
            .is_some_and(|until| Instant::now() < until)
    }

    fn paused_until(&self) -> MutexGuard<'_, Option<Instant>> {
        // No code panics while it holds this lock, and each change is whole in itself.
        self.paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// All scopes of a query; `None` where it cannot be read.
fn scopes(query: &str) -> Option<Vec<Scope>> {
    let mut scopes = Vec::new();
    for pair in pairs(query) {
        let pair = pair.ok()?;
        if pair.key == "scope" {
            for scope in pair.value.split_whitespace() {
                scopes.push(Scope::parse(scope)?);
            }
        }
    }
    Some(scopes)
}

impl Scope {
    /// The repository, where it is one and push is asked for.
    fn pushes_to(&self) -> Option<RepositoryName> {
        let is_push = self.kind() == "repository" && self.asks_for("push");
        is_push.then(|| RepositoryName::parse(self.name()).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};
    use crate::oci::Patterns;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use http::Request;

    const PUSH: &str = "/token/?service=h&scope=repository%3Ateam%2Fapp%3Apull%2Cpush";

    const LOGIN: &str = "Basic YWxpY2U6c2VjcmV0";
    const OTHER: &str = "Basic Ym9iOnNlY3JldA==";

    fn head(method: &str, login: &str) -> Parts {
        let request = Request::builder().method(method).uri("/");
        let request = request.header("Authorization", login);
        request.body(()).unwrap().into_parts().0
    }

    /// Where everything was used lately, and `LOGIN` was granted three of them.
    async fn widening(sources: Sources) -> Widening {
        let discovery = Discovery::new(config::Discovery {
            on_head: true,
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
            discovery.was_used(&RepositoryName::parse(name).unwrap());
        }
        let widening = Widening::new("/token/", Arc::new(discovery)).unwrap();
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
        let credentials = Credentials::sole(&login.headers).unwrap();
        widening
            .granted
            .learn(&credentials, &secret, Use::Pulled)
            .await;
        widening
            .learn(target.as_bytes(), &login, body.as_bytes())
            .await;
        widening
    }

    async fn widened(
        widening: &Widening,
        method: &str,
        target: &str,
        login: &str,
    ) -> Option<String> {
        let head = head(method, login);
        let widened = widening.widened(target.as_bytes(), &head).await?;
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
        widening.was_refused();
        assert_eq!(widened(&widening, "GET", PUSH, LOGIN).await, None);
        *widening.paused_until() = Some(Instant::now());
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
}
